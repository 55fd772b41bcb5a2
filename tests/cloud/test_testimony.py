"""Outcomes are believed of robots and versions that exist, at possible times, each once."""

import numpy as np
import pytest

from tierloop.cloud.experience import read
from tierloop.cloud.ingest import Ingest
from tierloop.cloud.lineage import PolicyRecord, SegmentRange
from tierloop.cloud.store import Store
from tierloop.cloud.testimony import LATE_NS, ROOM, Witness
from tierloop.cloud.withdrawal import ReleaseScores
from tierloop.contract.messages import Outcome, SegmentId

S = 10**9


@pytest.fixture
def lives(store, spec, make_segment, seal):
    """Versions 1 and 2 are released, 3 was refused; what two robots send is read."""
    for version, state in ((1, "released"), (2, "released"), (3, "refused")):
        store.policies.record(PolicyRecord(version, f"d{version}", (), state, {}, b"", ()))
    ingest, testimony = Ingest(store, spec, ("arm-0", "arm-1")), Witness(("arm-0", "arm-1"))
    after = 0

    def take(*segments):
        nonlocal after
        ingest.take([seal(segment) for segment in segments], 0)
        experience = read(store, spec, after, testimony)
        after = experience.last
        return experience

    take.store, take.spec = store, spec
    return take


def told(number, version=1, success=True, **changes):
    about = {
        "number": number, "success": success, "reason": "", "policy_version": version,
        "started_ns": number * S, "ended_ns": number * S + S // 2,
    }  # fmt: skip
    return Outcome(**(about | changes))


def segment(make_segment, seq, *outcomes, **changes):
    last = max((o.ended_ns for o in outcomes), default=S)
    stamps = np.array([last - 10, last - 5, last])
    return make_segment(seq, **({"captured_ns": stamps, "outcomes": outcomes} | changes))


def believed(experience):
    return [heard.outcome.number for heard in experience.outcomes]


def test_what_bodies_tell_is_believed_in_whatever_order_it_comes_up(lives, make_segment):
    late = segment(make_segment, 1, told(2), told(3, 2), told(4, -1))
    early = segment(make_segment, 0, told(0), told(1, success=False))
    assert believed(lives(late)) == [2, 3, 4]
    experience = lives(early)
    assert (believed(experience), experience.refused) == ([0, 1], {})
    assert {heard.robot for heard in experience.outcomes} == {"arm-0"}


def test_episodes_of_one_body_may_overlap(lives, make_segment):
    """A part is on the belt while the one before it is carried, and may be judged first."""
    first, second = told(0, ended_ns=9 * S), told(1, ended_ns=3 * S // 2)
    assert believed(lives(segment(make_segment, 0, second, first))) == [1, 0]


LIES = {
    "version": told(5, 3),
    "version ": told(5, 9),
    "time": told(5, ended_ns=5 * S),
    "time ": told(5, started_ns=7 * S, ended_ns=6 * S),
    "time  ": told(5, ended_ns=5 * S + 2 * LATE_NS),
    "number": told(0, started_ns=5 * S, ended_ns=6 * S),
    "order": told(5, started_ns=0, ended_ns=6 * S),
    "order ": told(5, started_ns=-0 + S // 2, ended_ns=6 * S),
}


@pytest.mark.parametrize("reason", LIES)
def test_what_cannot_be_is_not_believed_and_counted_by_robot(lives, make_segment, reason):
    lives(segment(make_segment, 0, told(0), told(1)))
    stamps = np.array([5 * S, 5 * S, 6 * S])
    experience = lives(segment(make_segment, 1, LIES[reason], told(6), captured_ns=stamps))
    assert believed(experience) == [6]
    assert experience.refused == {("arm-0", reason.strip()): 1}


def test_each_boot_numbers_its_episodes_anew(lives, make_segment):
    lives(segment(make_segment, 0, told(0)))
    assert believed(lives(segment(make_segment, 0, told(0), boot=8))) == [0]
    assert believed(lives(segment(make_segment, 0, told(0), device="arm-1"))) == [0]


def test_a_segment_does_not_tell_of_a_version_that_learnt_from_it(lives, make_segment):
    lives(segment(make_segment, 0))
    record = PolicyRecord(4, "d4", (), "released", {}, b"", (SegmentRange("arm-0", 7, 0, 3),))
    lives.store.policies.record(record)
    assert lives(segment(make_segment, 3, told(0, 4))).refused == {("arm-0", "version"): 1}
    assert believed(lives(segment(make_segment, 4, told(0, 4)))) == [0]
    assert lives.store.policies.acted(4, SegmentId("arm-0", 8, 0))


def test_more_than_a_body_can_have_lived_is_not_believed(lives, make_segment):
    many = [told(n, ended_ns=n * S + 1) for n in range(ROOM + 10)]
    experience = lives(segment(make_segment, 0, *many))
    assert len(experience.outcomes) == ROOM + 3
    assert experience.refused == {("arm-0", "many"): 7}


def test_a_read_that_fails_has_heard_nothing(store, lives, make_segment, monkeypatch):
    lives(segment(make_segment, 0, told(0)))
    monkeypatch.setattr(store.policies, "acted", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lives(segment(make_segment, 1, told(1)))
    monkeypatch.undo()
    assert believed(lives(segment(make_segment, 2, told(2)))) == [1, 2]


def test_a_body_that_went_bad_on_the_disk_holds_up_nothing(store, lives, make_segment):
    lives(segment(make_segment, 0))
    store._db.execute("UPDATE segments SET body = x'00'")
    assert read(store, lives.spec, 0).keys == ()
    assert read(store, lives.spec, 0).last == 1


def test_a_stranger_and_a_thousand_lies_move_no_verdict(tmp_path, spec, make_segment, seal):
    """Sixty failures that nobody lived withdraw no release; hundreds of successes keep none."""
    store = Store(tmp_path / "lies.sqlite")
    for version in (1, 2):
        store.policies.record(PolicyRecord(version, f"d{version}", (), "released", {}, b"", ()))
    robots = ("arm-0", "arm-1")
    ingest, witness, scores = Ingest(store, spec, robots), Witness(robots), ReleaseScores()

    def take(seq, outcomes, device="arm-0"):
        stamps = np.arange(60) * 2 * S
        made = segment(make_segment, seq, *outcomes, device=device, rows=60, captured_ns=stamps)
        ingest.take([seal(made)], 0)

    take(0, [told(n, 1) for n in range(30)] + [told(n, 2) for n in range(30, 60)])
    take(0, [told(n, 2, False) for n in range(60)], "evil")
    take(0, [told(n, 2, False, started_ns=0, ended_ns=0) for n in range(250)], "arm-1")
    experience = read(store, spec, 0, witness)
    scores.take(experience.outcomes)
    assert len(experience.outcomes) == 60
    assert experience.refused == {("arm-1", "time"): 250}
    assert scores.fallen(2) is None
    take(1, [told(n, 2, False) for n in range(60, 90)])
    for seq in range(1, 9):
        take(seq, [told(n, 2) for n in range(250)], "evil")
        take(seq, [told(n, 2) for n in range(60)], "arm-1")
    scores.take(read(store, spec, experience.last, witness).outcomes)
    assert scores.fallen(2).before == 1
    store.close()
