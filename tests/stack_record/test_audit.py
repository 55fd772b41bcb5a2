"""The audit against real stores, written by the edge's outbox and the cloud's store."""

import contextlib
import sqlite3
import tracemalloc
import zlib

import msgspec
import pytest

from tierloop.cloud.lineage import PolicyRecord
from tierloop.cloud.store import Datum, Misfit, Store
from tierloop.contract.codec import digest64
from tierloop.contract.errors import UserError
from tierloop.contract.messages import SegmentId, Stored
from tierloop.edge.outbox import Outbox, Parcel
from tierloop.edge.triage import Priority
from tierloop.stack.record.audit import Audit, audit
from tierloop.stack.record.books import holdings
from tierloop.stack.record.disks import CLOUD_STORE, EDGE_OUTBOX, releases

LIFE = ("arm-0", 7)


def body(seq: int) -> bytes:
    return f"segment {seq}".encode() * 20


def datum(seq: int, source: str = "lived") -> Datum:
    digest = digest64(body(seq))
    return Datum(SegmentId(*LIFE, seq), digest, 1, (0,), "test", "spec", body(seq), source)


@pytest.fixture
def tiers(tmp_path):
    """Ten segments taken in by the edge; the cloud has the first eight of them."""
    (tmp_path / EDGE_OUTBOX).parent.mkdir(parents=True)
    outbox = Outbox(tmp_path / EDGE_OUTBOX, 10**9)
    outbox.commit(
        [
            Parcel(SegmentId(*LIFE, n), digest64(body(n)), Priority.ROUTINE, zlib.compress(body(n)))
            for n in range(10)
        ]
    )
    store = Store(tmp_path / CLOUD_STORE)
    store.commit([datum(n) for n in range(8)])
    store.commit([Datum(SegmentId("twin", 1, 0), 5, 1, (), "test", "spec", b"x", "twin")])
    outbox.settle([Stored(device=LIFE[0], boot=LIFE[1], below=8)])
    outbox._connection().close()
    store.close()
    return tmp_path


def sql(path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()


def test_what_is_on_either_disk_is_not_missing(tiers):
    found = audit(tiers, {LIFE: 10}, 0)
    assert found == Audit(stored=8, waiting=2, duplicate=0, missing=0, altered=0)


def test_a_segment_that_vanished_behind_its_acknowledgement_is_missing(tiers):
    sql(tiers / CLOUD_STORE, "DELETE FROM segments WHERE seq = 3 AND source = 'lived'")
    assert audit(tiers, {LIFE: 10}, 0).missing == 1
    assert audit(tiers, {LIFE: 10}, 1).missing == 0, "the edge said that it dropped one"
    sql(tiers / EDGE_OUTBOX, "DELETE FROM parcels WHERE seq = 9")
    assert audit(tiers, {LIFE: 10}, 0).missing == 2


def test_what_the_outbox_dropped_is_known_after_a_crash_of_the_edge(tiers):
    outbox = Outbox(tiers / EDGE_OUTBOX, 1)
    outbox.commit([Parcel(SegmentId(*LIFE, 10), digest64(body(10)), Priority.ROUTINE, b"x" * 9)])
    outbox.close()
    assert audit(tiers, {LIFE: 11}, 0) == Audit(8, 0, 0, 0, 0)


def test_what_the_outbox_dropped_of_a_boot_that_it_forgot_is_not_missing(tiers, monkeypatch):
    monkeypatch.setattr("tierloop.edge.boots.BOOTS_MAX", 1)
    outbox = Outbox(tiers / EDGE_OUTBOX, 1)
    lives = {("arm-1", boot): 1 for boot in (1, 2)}
    for device, boot in lives:
        name = SegmentId(device, boot, 0)
        outbox.commit([Parcel(name, digest64(body(boot)), Priority.ROUTINE, b"x" * 9)])
    assert ("arm-1", 1) not in outbox.load().below
    outbox.close()
    assert audit(tiers, {LIFE: 10, **lives}, 0).missing == 0
    assert audit(tiers, {LIFE: 11, **lives}, 0).missing == 1


def test_what_a_stranger_damaged_is_no_broken_promise(tiers):
    store = Store(tiers / CLOUD_STORE)
    store.commit([], [Misfit(SegmentId("evil", 7, n), n, 1, "stranger") for n in range(549)])
    store.close()
    assert audit(tiers, {LIFE: 10}, 0).altered == 0


def test_an_acknowledgement_before_its_commit_is_missing(tiers):
    assert audit(tiers, {LIFE: 12}, 0).missing == 2
    assert audit(tiers, {LIFE: 3, ("arm-1", 1): 1}, 0).missing == 1


def test_stores_whose_processes_ended_while_making_them_hold_nothing(tmp_path):
    for store in (CLOUD_STORE, EDGE_OUTBOX):
        (tmp_path / store).parent.mkdir(parents=True)
        (tmp_path / store).touch()
    sql(tmp_path / EDGE_OUTBOX, "CREATE TABLE parcels (device, boot, seq, digest)")
    assert audit(tmp_path, {}, 0) == Audit(0, 0, 0, 0, 0)
    assert audit(tmp_path, {LIFE: 1}, 0).missing == 1
    assert releases(tmp_path) == []


def test_a_changed_byte_is_altered(tiers):
    sql(tiers / CLOUD_STORE, "UPDATE segments SET body = x'00' WHERE seq = 2")
    assert audit(tiers, {LIFE: 10}, 0).altered == 1
    store = Store(tiers / CLOUD_STORE)
    store.commit(
        [], [Misfit(SegmentId(*LIFE, 8), 1, 1, "digest"), Misfit(SegmentId(*LIFE, 9), 1, 1, "spec")]
    )
    store.close()
    assert audit(tiers, {LIFE: 10}, 0).altered == 2


def test_a_tier_that_ran_elsewhere_is_not_judged(tmp_path):
    assert audit(tmp_path, {LIFE: 10}, 0) == Audit(0, 0, 0, 0, 0, checked=False)
    assert releases(tmp_path) == []


def test_a_store_in_use_is_the_users_mistake(tiers):
    outbox = Outbox(tiers / EDGE_OUTBOX, 10**9)
    outbox.load()
    with pytest.raises(UserError, match="is the run still going"):
        audit(tiers, {}, 0)
    outbox._connection().close()


def test_releases_are_listed_by_version_without_the_refused(tmp_path):
    store = Store(tmp_path / CLOUD_STORE)
    for version, state in ((0, "released"), (1, "refused"), (2, "released")):
        store.policies.record(
            PolicyRecord(version, f"d{version}", (0,), state, {"loss": 0.5}, b"x", ())
        )
    store.close()
    assert [(r.version, r.digest, r.parents) for r in releases(tmp_path)] == [
        (0, "d0", (0,)),
        (2, "d2", (0,)),
    ]


def test_a_body_that_the_cloud_found_damaged_is_altered(tiers):
    store = Store(tiers / CLOUD_STORE)
    store.commit(
        [],
        [Misfit(SegmentId(*LIFE, 8), 5, 1, "deflate"), Misfit(SegmentId("b", 1, 0), 6, 1, "spec")],
    )
    store.close()
    assert audit(tiers, {LIFE: 10}, 0).altered == 1


def test_an_outbox_that_is_gone_is_seen(tiers):
    (tiers / EDGE_OUTBOX).unlink()
    assert audit(tiers, {LIFE: 10}, 0).missing == 2


def test_one_body_under_two_names_is_a_duplicate(tiers):
    sql(tiers / CLOUD_STORE, "UPDATE segments SET digest = (SELECT digest FROM segments LIMIT 1)")
    assert audit(tiers, {LIFE: 10}, 0).duplicate >= 7


def test_a_store_that_is_no_database_is_one_line(tiers):
    (tiers / CLOUD_STORE).write_bytes(b"garbage" * 1000)
    with pytest.raises(UserError, match="not a database"):
        audit(tiers, {LIFE: 10}, 0)


def test_what_the_edge_refused_for_good_is_acknowledged_and_not_missing(tiers):
    outbox = Outbox(tiers / EDGE_OUTBOX, 10**9)
    stranger = [SegmentId("arm-1", 9, seq) for seq in range(5)]
    outbox.commit([], stranger)
    outbox.commit([], [*stranger, SegmentId(*LIFE, 10)])
    outbox.close()
    assert audit(tiers, {LIFE: 11}, 0).missing == 0
    sql(tiers / EDGE_OUTBOX, "DELETE FROM parcels WHERE seq = 9")
    assert audit(tiers, {LIFE: 11}, 0).missing == 1


def test_damage_by_a_life_that_nobody_heard_is_a_strangers(tiers):
    store = Store(tiers / CLOUD_STORE)
    store.commit(
        [],
        [
            Misfit(SegmentId("arm-0", 8, 0), 1, 1, "digest"),
            Misfit(SegmentId(*LIFE, 77), 2, 1, "digest"),
        ],
    )
    store.close()
    assert audit(tiers, {LIFE: 10}, 0).altered == 1
    assert audit(tiers, {}, 0).altered == 2, "where no device was heard, all count"


def mark(tiers, runs) -> None:
    with contextlib.closing(sqlite3.connect(tiers / EDGE_OUTBOX)) as database:
        database.execute("UPDATE marks SET runs = ?", (msgspec.msgpack.encode(runs),))
        database.commit()


def test_numbers_that_a_disk_claims_take_no_memory(tiers):
    mark(tiers, [(5, 9), (0, 8), (10, 9 * 10**7)])
    tracemalloc.start()
    assert audit(tiers, {LIFE: 10}, 0).missing == 9 * 10**7 - 10
    assert holdings(tiers)[LIFE] == (8, 0, 2, 9 * 10**7 - 10, 9 * 10**7 - 1)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


@pytest.mark.parametrize("runs", [[(0, 2**63)], [(5, 3)], [(-4, 2)]])
def test_numbers_that_no_segment_has_are_damage(tiers, runs):
    mark(tiers, runs)
    damaged = []
    audit(tiers, {}, 0, damaged)
    assert [damage.file for damage in damaged] == [str(EDGE_OUTBOX)]
    assert holdings(tiers) == {}
