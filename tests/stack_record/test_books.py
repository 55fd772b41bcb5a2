"""The books of experience close: of lives that ended in order, that crashed, that nobody heard."""

import contextlib
import sqlite3

import msgspec
import pytest
from records import recorded, report

from tierloop.contract.errors import UserError
from tierloop.edge.outbox_view import Runs
from tierloop.stack.record.books import Books, Kept, balance, holdings, kept
from tierloop.stack.record.disks import CLOUD_STORE, EDGE_OUTBOX
from tierloop.stack.record.record import ROOF


def life(boot=1, produced=0, shed=0, backlog=0):
    counters = {"segments.produced": float(produced), "segments.shed": float(shed)}
    return report("arm-0", "device", 9, boot, counters=counters, gauges={"backlog": float(backlog)})


def books(held, *lives, ended="stopped"):
    ends = [(9, ended, "arm-0: x"), (9.5, "fault.over", "arm-0: crash")]
    roof = report(ROOF, ROOF, 10, 0, events=ends)
    found = balance(recorded([*lives, roof]), held)
    places = (
        found.stored, found.refused, found.waiting, found.waiting_device, found.dropped,
        found.shed_device, found.lost,
    )  # fmt: skip
    assert sum(places) == found.produced
    return found


ARM = ("arm-0", 1)


def test_each_segment_is_in_one_place():
    def named(*numbers):
        return [(*ARM, n) for n in numbers]

    runs = {ARM: Runs(msgspec.msgpack.encode([(0, 6)]))}
    found = kept(named(0, 1, 2), named(3), named(2, 4), runs)
    assert found == {ARM: Kept(stored=3, refused=1, waiting=1, dropped=1, top=5)}


def test_a_life_that_ended_in_order_keeps_its_backlog():
    found = books({ARM: Kept(stored=6, top=5)}, life(produced=10, shed=1, backlog=3))
    assert (found.waiting_device, found.shed_device, found.lost) == (3, 1, 0)
    assert found.unbalanced == 0


def test_what_is_in_no_place_is_seen():
    assert books({ARM: Kept(stored=6, top=5)}, life(produced=10, shed=1, backlog=1)).unbalanced == 2


@pytest.mark.parametrize("ended", ["died", "hung", "killed"])
def test_what_a_crashed_life_took_along_is_lost(ended):
    found = books({ARM: Kept(stored=6, top=5)}, life(produced=10, backlog=4), ended=ended)
    assert (found.lost, found.waiting_device, found.unbalanced) == (4, 0, 0)


def test_a_life_that_another_followed_has_crashed():
    held = {ARM: Kept(stored=6, top=5), ("arm-0", 2): Kept(stored=2, top=1)}
    found = books(held, life(produced=7, backlog=1), life(boot=2, produced=2))
    assert (found.produced, found.lost) == (9, 1)


def test_the_last_second_of_a_killed_life_is_what_the_disks_say():
    found = books({ARM: Kept(stored=11, waiting=1, top=12)}, life(produced=10), ended="died")
    assert (found.produced, found.lost) == (13, 1)
    unheard = balance(recorded([]), {ARM: Kept(stored=2, top=2)})
    assert (unheard.produced, unheard.stored, unheard.lost) == (3, 2, 1)


def test_a_number_beyond_belief_makes_no_segments():
    found = books({ARM: Kept(stored=1, top=2**60)}, life(produced=1), ended="died")
    assert (found.produced, found.lost) == (1, 0)


def test_the_books_of_nothing():
    assert balance(recorded([]), {}) == Books(*[0] * 9)


def test_a_store_in_use_is_the_users_mistake_whichever_it_is(tmp_path):
    for store in (CLOUD_STORE, EDGE_OUTBOX):
        (tmp_path / store).parent.mkdir(parents=True)
        with contextlib.closing(sqlite3.connect(tmp_path / store)) as made:
            made.execute("PRAGMA journal_mode=WAL")
            made.execute("PRAGMA locking_mode=EXCLUSIVE")
            made.execute("CREATE TABLE t (x)")
            made.commit()
            with pytest.raises(UserError, match=f"{store}.*is the run still going"):
                holdings(tmp_path)
