"""An edge that lies: what it says is judged and counted before it changes anything."""

import msgspec
import numpy as np
import pytest
from plant import POLICY
from test_node import Rig, answer

from tierloop.contract.account import EVENTS_MAX
from tierloop.contract.body import Episode
from tierloop.contract.bounds import INT_MAX, NAME_MAX
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.codec import Codec
from tierloop.contract.errors import WireError
from tierloop.contract.ledger import INDEX, LEDGER, Refusal, coded
from tierloop.contract.messages import Observation, Outcome, Sealed, Stored, Welcome
from tierloop.contract.streams import MAX_BYTES
from tierloop.device.ledger import ROWS_MAX
from tierloop.link.clock_offset import ClockOffset, Offset

replace = msgspec.structs.replace


def questions(rig: Rig) -> list[Observation]:
    return [m for m in rig.sent if isinstance(m, Observation)]


def stamped(question: Observation, captured_ns: int, **changes):
    until_ns = captured_ns + POLICY.validity_ns
    return replace(answer(question), captured_ns=captured_ns, valid_until_ns=until_ns, **changes)


@pytest.mark.parametrize("off_ns", [NS_PER_S, -1, 1, 10**18, -(10**18)])
def test_an_answer_with_another_capture_time_does_not_act_and_poisons_nothing(off_ns):
    rig = Rig()
    rig.tick(60, answer)
    rig.tick(13)
    asked, ahead_ns = questions(rig)[-1], rig.node.foresight.ahead_ns
    before = rig.node.arbiter.chunk
    for _ in range(20):
        lie = stamped(asked, asked.captured_ns + off_ns)
        rig.node.on_message(rig.now, "edge", lie)
    assert rig.node.arbiter.chunk is before
    assert rig.node.foresight.ahead_ns == ahead_ns
    rig.tick(60, answer)
    report = rig.node.report(rig.now, last=True)
    assert report.counters["refused.not_asked"] == 20
    assert coded(report.decisions)
    row = next(r for r in report.decisions if r[INDEX["seq"]] == asked.seq)
    assert row[INDEX["refused"]] == Refusal.NOT_ASKED
    assert row[INDEX["received_ns"]] == 0


def test_an_answer_to_an_old_question_stamped_anew_does_not_act():
    rig = Rig()
    rig.tick(60, answer)
    old = questions(rig)[-4:]
    rig.tick(720)
    for question in old:
        lie = stamped(question, rig.now - 1000, ahead_ns=0)
        rig.node.on_message(rig.now, "edge", lie)
        rig.tick(1)
    assert rig.node.arbiter.chunk is None
    assert rig.node.report(rig.now).counters["refused.not_asked"] == 4


def test_an_answer_that_shifts_its_rows_does_not_act():
    rig = Rig()
    rig.tick(60, answer)
    rig.tick(13)
    asked = questions(rig)[-1]
    assert asked.ahead_ns > 0
    rig.node.on_message(rig.now, "edge", replace(answer(asked), ahead_ns=asked.ahead_ns + 1))
    assert rig.node.arbiter.chunk.seq != asked.seq
    assert rig.node.report(rig.now).counters["refused.not_asked"] == 1


def test_an_honest_answer_behind_a_lie_acts_and_is_what_the_ledger_tells():
    rig = Rig()
    rig.tick(60, answer)
    rig.tick(13)
    asked = questions(rig)[-1]
    rig.node.on_message(rig.now, "edge", stamped(asked, asked.captured_ns + 5))
    rig.node.on_message(rig.now, "edge", answer(asked))
    rig.tick(2)
    assert rig.node.arbiter.chunk.seq == asked.seq
    rig.node.on_message(rig.now, "edge", stamped(asked, asked.captured_ns + 5))
    rows = rig.node.report(rig.now, last=True).decisions
    row = next(r for r in rows if r[INDEX["seq"]] == asked.seq)
    assert row[INDEX["refused"]] == Refusal.NONE
    assert row[INDEX["applied_ns"]] > row[INDEX["received_ns"]] > 0


def test_an_answer_acts_once_and_is_told_once():
    rig = Rig()
    rig.tick(60, answer)
    rig.tick(13)
    asked = questions(rig)[-1]
    rig.node.on_message(rig.now, "edge", answer(asked))
    rig.tick(200)
    assert rig.node.arbiter.chunk is None
    delays = list(rig.node.foresight._delays_ns)
    for _ in range(20):
        rig.node.on_message(rig.now, "edge", answer(asked, value=0.9))
    rig.tick(2)
    assert rig.node.arbiter.chunk is None
    assert list(rig.node.foresight._delays_ns) == delays


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        (lambda _: {"actions": np.full((8, 3), np.nan, np.float32)}, Refusal.NOT_FINITE),
        (lambda asked: {"valid_until_ns": asked.captured_ns + 1}, Refusal.EXPIRED),
    ],
    ids=["not finite", "expired"],
)
def test_a_question_is_answered_once_even_if_its_answer_was_refused(wrong, refusal):
    rig = Rig()
    rig.tick(60, answer)
    rig.tick(13)
    asked = questions(rig)[-1]
    before = rig.node.arbiter.chunk
    rig.node.on_message(rig.now, "edge", replace(answer(asked), **wrong(asked)))
    rig.node.on_message(rig.now, "edge", answer(asked))
    rig.tick(2)
    assert rig.node.arbiter.chunk is before
    report = rig.node.report(rig.now, last=True)
    row = next(r for r in report.decisions if r[INDEX["seq"]] == asked.seq)
    assert (row[INDEX["refused"]], row[INDEX["applied_ns"]]) == (refusal, 0)
    assert report.counters[f"refused.{refusal.name.lower()}"] == 1
    assert report.counters["refused.reordered"] == 1


def test_late_answers_told_again_and_again_are_one_delay():
    rig = Rig()
    rig.tick(60, answer)
    asked = questions(rig)[-1]
    rig.tick(13)
    late = questions(rig)[-1]
    assert late.seq > asked.seq
    rig.tick(200)
    for _ in range(20):
        rig.node.on_message(rig.now, "edge", answer(late))
    counters = rig.node.report(rig.now).counters
    assert (counters["refused.expired"], counters["refused.reordered"]) == (1, 19)
    assert max(rig.node.foresight._delays_ns) > POLICY.validity_ns
    assert sum(d > POLICY.validity_ns for d in rig.node.foresight._delays_ns) == 1


@pytest.mark.parametrize("field", ["held_ns", "compute_ns", "arrived_ns"])
@pytest.mark.parametrize("value", [-INT_MAX - 1, -INT_MAX, INT_MAX])
@pytest.mark.parametrize("offset_ns", [0, 2**63, -(2**64)])
def test_figures_at_the_ends_of_their_range_fit_the_ledger(field, value, offset_ns):
    rig = Rig()
    rig.tick(60, answer)
    rig.node.offset = Offset(offset_ns, 2**63, 2**63)
    rig.tick(60, lambda asked: replace(answer(asked), **{"arrived_ns": 1, field: value}))
    rows = rig.node.report(rig.now, last=True).decisions
    assert (rows[-2:, INDEX["tier"]] > 0).all()
    assert (rows[-2:, INDEX["way_bound_ns"]] == INT_MAX).all()


@pytest.mark.parametrize(
    "stamps",
    [
        (100, 5, 4, 200),
        (100, 0, 101, 200),
        (100, 2**63 - 1, 2**63 - 1, 200),
        (100, -(2**63), 2**63 - 1, 200),
        (100, -(2**63), -(2**63), 200),
        (200, 5, 5, 100),
    ],
)
def test_an_echo_no_honest_clock_could_send_is_not_used(stamps):
    clock = ClockOffset()
    clock.add(0, 50, 60, 110)
    best = clock.best
    for _ in range(10):
        with pytest.raises(WireError, match="echo"):
            clock.add(*stamps)
    assert clock.best == best == Offset(0, 50, 100)


@pytest.mark.parametrize(
    "word",
    [
        Stored(device="arm", boot=1, below=INT_MAX),
        Stored(device="arm", boot=1, below=0, also=(INT_MAX, 0)),
        Stored(device="arm", boot=1, below=3),
        Welcome(node="edge", boot=9, acked=INT_MAX),
    ],
)
def test_what_was_never_sent_cannot_be_acknowledged(word):
    rig = Rig(segment_decisions=10)
    rig.tick(260, answer)
    assert len([m for m in rig.sent if isinstance(m, Sealed)]) == 2
    rig.node.on_message(rig.now, "edge", word)
    counters = rig.node.report(rig.now).counters
    assert counters["segments.unsent_acks"] == 1
    assert counters["segments.acked"] == 0
    assert rig.node.uplink.waiting == 2
    rig.node.on_message(rig.now, "edge", Stored(device="arm", boot=1, below=2))
    assert rig.node.uplink.waiting == 0


def test_words_of_a_peer_fill_no_report():
    """Ten thousand Welcomes with names as long as may be: the rows are told all the same."""
    rig = Rig()
    rig.tick(235, answer)
    for n in range(10_000):
        welcome = Welcome(node="𝔴" * NAME_MAX, boot=n, acked=0)
        rig.node.on_message(rig.now, "edge", welcome)
    report = rig.node.report(rig.now, last=True)
    assert len(report.decisions) == 20
    assert "policy" in {event.name for event in report.events}
    assert report.counters["events_dropped"] >= 9_800
    Codec().encode(report)


def test_the_fullest_report_of_a_device_fits_its_stream_and_loses_no_row():
    """After a long silence of the roof: rows, outcomes, events and labels all at their most."""
    rig, codec = Rig(), Codec()
    rig.tick(12, answer)
    node = rig.node
    reading = rig.robot.body.read(rig.now)
    for n in range(4000):
        node._decide(rig.now + n, reading)
    ends = [Outcome(number=n, success=True, reason="𝔴" * 64, policy_version=1, started_ns=INT_MAX,
                    ended_ns=INT_MAX) for n in range(300)]  # fmt: skip
    node._outcomes.waiting += ends
    rows, outcomes = [], []
    while node.untold:
        for n in range(EVENTS_MAX):
            node._event(INT_MAX - n, "session", "𝔴" * 500)
        report = node.report(rig.now, lateness_ns=[INT_MAX] * 1000, last=True)
        counters = {f"{n}" + "x" * 40: 1.0 for n in range(150)}
        report.counters.update(counters)
        assert len(codec.encode(report)) <= MAX_BYTES[type(report)]
        assert len(report.decisions) <= ROWS_MAX
        rows.append(report.decisions)
        outcomes += report.outcomes
    assert np.concatenate(rows)[:, INDEX["seq"]].tolist() == list(range(node._seq))
    assert rows[0].shape[1] == len(LEDGER)
    assert outcomes == ends


def test_a_body_that_judges_without_end_fills_segments_not_the_device():
    rig = Rig()
    reading = rig.robot.body.read(rig.now)
    many = tuple(
        Episode(number=n, success=False, reason="r" * 500, started_ns=0, ended_ns=1)
        for n in range(1000)
    )
    rig.node.on_tick(rig.now, reading._replace(outcomes=many))
    rig.node.uplink.seal()
    told = [
        o for s in rig.node.uplink._backlog.values() for o in Codec().decode(s.body.data).outcomes
    ]
    assert [o.number for o in told] == list(range(1000))
