import msgspec
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from plant import POLICY, SPEC

from tierloop.contract.clock import NS_PER_MS
from tierloop.contract.ledger import Refusal, Rung
from tierloop.contract.messages import ActionChunk
from tierloop.device.arbiter import REARM_CHUNKS, Arbiter
from tierloop.device.chunks import ChunkPlan

MS = NS_PER_MS
HOLD_NS = 1000 * MS


def chunk(seq: int, captured_ms: float, value: float = 1.0, **changes) -> ActionChunk:
    captured_ns = round(captured_ms * MS)
    rows = np.full((8, 3), value, np.float32)
    rows[:, 0] = value * np.arange(1, 9)
    made = ActionChunk(
        device="arm", boot=1, seq=seq, captured_ns=captured_ns, period_ns=50 * MS,
        valid_until_ns=captured_ns + 400 * MS, policy_version=1, tier="edge", batch=1,
        held_ns=0, compute_ns=0, actions=rows,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def arbiter() -> Arbiter:
    return Arbiter("arm", 1, POLICY, SPEC, HOLD_NS)


def test_rows_are_due_by_the_capture_time_and_past_ones_are_skipped():
    plan = ChunkPlan(chunk(0, 0), 120 * MS, np.zeros(3))
    assert plan.at(120 * MS)[0] == pytest.approx(2.4)
    assert plan.at(150 * MS)[0] == pytest.approx(3.0)
    assert plan.at(175 * MS)[0] == pytest.approx(3.5)
    assert plan.at(175 * MS)[2] == 1.0
    assert plan.valid(400 * MS - 1)
    assert not plan.valid(401 * MS)


def test_what_a_late_chunk_asks_does_not_depend_on_when_it_came():
    """Were it led up to its next row, it would act later the sooner after a row it came."""
    times = [t * MS for t in range(150, 400, 3)]
    prompt = ChunkPlan(chunk(0, 0), 0, np.zeros(3))
    expected = [prompt.at(t).tolist() for t in times]
    for came_ms in (51, 75, 99, 100, 101, 149, 150):
        late = ChunkPlan(chunk(0, 0), came_ms * MS, np.full(3, 9.0))
        assert [late.at(t).tolist() for t in times] == expected, came_ms


def test_a_skipped_tick_lands_where_time_is():
    plan = ChunkPlan(chunk(0, 0), 10 * MS, np.zeros(3))
    assert plan.at(325 * MS)[0] == pytest.approx(6.5)


def test_seams_compare_rows_due_at_the_same_time():
    a, b = ChunkPlan(chunk(0, 0), 0, np.zeros(3)), ChunkPlan(chunk(1, 50), 50 * MS, np.zeros(3))
    assert b.seam_rad(a) == pytest.approx(0.5)
    assert a.seam_rad(b) == 0.0


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"device": "other"}, Refusal.WRONG_BODY),
        ({"actions": np.ones((8, 2), np.float32)}, Refusal.WRONG_BODY),
        ({"period_ns": 10 * MS}, Refusal.WRONG_BODY),
        ({"valid_until_ns": 10_000 * MS}, Refusal.WRONG_BODY),
        ({"boot": 2}, Refusal.WRONG_BOOT),
        ({"seq": 0}, Refusal.REORDERED),
        ({"captured_ns": 100 * MS, "valid_until_ns": 500 * MS}, Refusal.EXPIRED),
        ({"captured_ns": 900 * MS}, Refusal.EXPIRED),
        ({"actions": np.full((8, 3), np.inf, np.float32)}, Refusal.NOT_FINITE),
    ],
    ids=lambda p: p.name if isinstance(p, Refusal) else "",
)
def test_refusals_say_why(changes, refusal):
    a = arbiter()
    assert a.offer(600 * MS, chunk(0, 600), np.zeros(3)) is Refusal.NONE
    now_ns = 600 * MS
    late = msgspec.structs.replace(chunk(1, 600), **changes)
    assert a.offer(now_ns, late, np.zeros(3)) is refusal
    assert a.chunk is not None
    assert a.chunk.seq == 0


def test_hold_within_a_tick_of_expiry_then_stop_then_rearm():
    a = arbiter()
    a.offer(0, chunk(0, 0), np.zeros(3))
    assert a.choose(400 * MS - 1) is not None
    assert a.choose(400 * MS + 1) is None
    assert a.rung is Rung.HOLD
    assert a.choose(1400 * MS + 2) is None
    assert a.rung is Rung.STOP
    for k in range(REARM_CHUNKS):
        assert a.choose((2000 + k) * MS) is None
        expected = Refusal.STOPPED if k < REARM_CHUNKS - 1 else Refusal.NONE
        assert a.offer((2000 + k) * MS, chunk(k + 1, 2000 + k), np.zeros(3)) is expected
    assert a.choose(2010 * MS) is not None
    assert a.rung is Rung.EDGE


def test_a_bad_chunk_disarms():
    a = arbiter()
    a.choose(0)
    a.choose(HOLD_NS + 1)
    now = 2000
    a.offer(now * MS, chunk(0, now), np.zeros(3))
    a.offer(now * MS, chunk(1, now - 900), np.zeros(3))
    a.offer(now * MS, chunk(2, now), np.zeros(3))
    assert a.offer(now * MS, chunk(3, now), np.zeros(3)) is Refusal.STOPPED


class ArbiterMachine(RuleBasedStateMachine):
    """Any order of chunks and time: what acts is fresh, in order, of this body and boot."""

    def __init__(self) -> None:
        super().__init__()
        self.arbiter, self.now, self.acted = arbiter(), 0, -1
        self.last_valid: ActionChunk | None = None
        self.alone_since: int | None = None
        self.stopped = False

    @rule(ms=st.integers(1, 300))
    def time_passes(self, ms: int) -> None:
        self.now += ms * MS

    @rule(
        seq=st.integers(0, 40), age_ms=st.integers(-50, 600), boot=st.sampled_from([1, 1, 1, 2]),
        value=st.sampled_from([1.0, -1.0, float("nan")]),
    )  # fmt: skip
    def chunk_comes(self, seq: int, age_ms: int, boot: int, value: float) -> None:
        made = chunk(seq, self.now / MS - age_ms, value, boot=boot)
        if self.arbiter.offer(self.now, made, np.zeros(3)) is Refusal.NONE:
            assert boot == 1
            assert 0 <= age_ms <= 400
            assert seq > self.acted
            self.acted, self.last_valid = seq, made

    @invariant()
    def what_acts_is_fresh(self) -> None:
        wish = self.arbiter.choose(self.now)
        if wish is not None:
            assert self.last_valid is not None
            assert self.now <= self.last_valid.valid_until_ns
            assert np.isfinite(wish).all()
            assert self.arbiter.rung is Rung.EDGE
        else:
            assert self.arbiter.rung in (Rung.HOLD, Rung.STOP)

    @invariant()
    def the_ladder_is_climbed_down_in_time(self) -> None:
        """Hold from the first look without an action, stop once it has lasted, and no sooner."""
        if self.arbiter.choose(self.now) is not None:
            self.alone_since = None
            return
        if self.alone_since is None:
            self.alone_since = self.now
        lasted = self.now - self.alone_since > HOLD_NS
        assert not lasted or self.arbiter.rung is Rung.STOP
        self.stopped = self.arbiter.rung is Rung.STOP and (self.stopped or lasted)
        assert self.stopped is (self.arbiter.rung is Rung.STOP)

    @precondition(lambda self: self.arbiter.rung is Rung.STOP)
    @rule()
    def stop_needs_more_than_one_chunk(self) -> None:
        self.acted += 1
        result = self.arbiter.offer(self.now, chunk(self.acted + 100, self.now / MS), np.zeros(3))
        self.acted += 100
        if result is Refusal.NONE:
            self.last_valid = self.arbiter.chunk


TestArbiterMachine = ArbiterMachine.TestCase
