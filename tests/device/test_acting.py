"""Acting on late answers: anchors, prediction, premises and fades; and what the record says."""

from collections import deque

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plant import PERIOD_NS, POLICY, SPEC, embodiment

from tierloop.contract.body import Effort, Reading
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.codec import Codec
from tierloop.contract.errors import SpecError
from tierloop.contract.ledger import INDEX, Refusal, Rung
from tierloop.contract.messages import ActionChunk, Observation, Sealed
from tierloop.device.arbiter import PREMISE_RAD, Arbiter
from tierloop.device.chunks import ChunkPlan
from tierloop.device.config import ActingConfig, DeviceConfig
from tierloop.device.foresight import ANSWERS, PREMISES, Foresight
from tierloop.device.node import DeviceNode

MS = NS_PER_MS
PREDICT = ActingConfig(anchor="capture", predict=True, blend_ms=0)


def chunk(seq: int, captured_ms: float, first: float = 1.0, **changes) -> ActionChunk:
    """Joint a at first, first + 1 ... ; joint b at rest; the switch on."""
    captured_ns = round(captured_ms * MS)
    rows = np.zeros((8, 3), np.float32)
    rows[:, 0], rows[:, 2] = first + np.arange(8), 1.0
    made = ActionChunk(
        device="arm", boot=1, seq=seq, captured_ns=captured_ns, period_ns=50 * MS,
        valid_until_ns=captured_ns + 400 * MS, policy_version=1, tier="edge", batch=1,
        held_ns=0, compute_ns=0, actions=rows,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def arbiter(**acting) -> Arbiter:
    return Arbiter("arm", 1, POLICY, SPEC, NS_PER_S, ActingConfig(**{"blend_ms": 0} | acting))


def test_a_naive_actor_replays_the_rows_from_their_arrival():
    for anchor, expected in (("arrival", 1.0), ("capture", 5.0)):
        a = arbiter(anchor=anchor)
        assert a.offer(200 * MS, chunk(0, 0), np.zeros(3)) is Refusal.NONE
        wish = a.choose(250 * MS)
        assert wish is not None
        assert wish[0] == pytest.approx(expected)
        assert a.choose(401 * MS) is None, "its validity runs from the capture all the same"


def test_an_answer_to_a_prediction_is_anchored_to_the_predicted_instant():
    plan = ChunkPlan(chunk(0, 0, ahead_ns=200 * MS), 210 * MS, np.zeros(3))
    assert plan.at(250 * MS)[0] == pytest.approx(1.0)
    assert plan.at(275 * MS)[0] == pytest.approx(1.5)
    assert not plan.valid(401 * MS), "prediction makes nothing fresher"


def test_an_answer_that_comes_before_its_instant_leads_up_to_it():
    plan = ChunkPlan(chunk(0, 0, ahead_ns=200 * MS), 150 * MS, np.zeros(3))
    assert [plan.at(t * MS)[0] for t in (150, 200, 250)] == pytest.approx([0.0, 0.5, 1.0])


def test_an_anchor_past_the_validity_is_refused_and_a_negative_one_is_no_message():
    a = arbiter()
    far = chunk(0, 0, ahead_ns=400 * MS + 1)
    assert a.offer(10 * MS, far, np.zeros(3)) is Refusal.WRONG_BODY
    with pytest.raises(SpecError, match="ahead_ns"):
        chunk(0, 0, ahead_ns=-1).__post_init__()


def test_the_joints_fade_over_in_a_straight_line_and_the_switch_does_not():
    old = ChunkPlan(chunk(0, 0, first=0.0), 0, np.zeros(3))
    new = chunk(1, 100, first=10.0)
    new.actions[:, 2] = 0.0
    plan = ChunkPlan(new, 100 * MS, np.array([10.0, 0.0, 0.0]), None, old, lambda _: 100 * MS)
    pure_old = ChunkPlan(chunk(0, 0, first=0.0), 0, np.zeros(3))
    pure_new = ChunkPlan(new, 100 * MS, np.array([10.0, 0.0, 0.0]))
    for t in (100, 125, 150, 175, 199, 200, 230):
        share = min((t - 100) / 100, 1.0)
        mixed = plan.at(t * MS)
        expected = (1 - share) * pure_old.at(t * MS)[0] + share * pure_new.at(t * MS)[0]
        assert mixed[0] == pytest.approx(expected)
        assert mixed[2] == 0.0


@given(st.lists(st.integers(0, 390), min_size=2, max_size=12), st.integers(0, 200))
def test_what_is_foreseen_is_what_comes(times, ahead_ms):
    made = chunk(0, 0, ahead_ns=ahead_ms * MS)
    now_ms, *later = sorted(times)
    plan = ChunkPlan(made, now_ms * MS, np.full(3, -3.0))
    foreseen = [plan.foreseen(t * MS)[0] for t in later]
    came = [plan.at(t * MS)[0] for t in later]
    assert foreseen == pytest.approx(came)


def test_past_its_last_row_a_plan_is_foreseen_to_stay_there():
    plan = ChunkPlan(chunk(0, 0), 0, np.zeros(3))
    assert plan.foreseen(2000 * MS)[0] == 8.0


def test_seams_are_compared_by_anchors():
    a = ChunkPlan(chunk(0, 0, ahead_ns=100 * MS), 100 * MS, np.zeros(3))
    b = ChunkPlan(chunk(1, 50, first=2.0, ahead_ns=99 * MS), 150 * MS, np.zeros(3))
    assert b.seam_rad(a) == pytest.approx(0.0), "49 ms on is one row on"


def test_a_chunk_whose_premise_failed_is_not_taken_while_there_is_a_plan():
    a = arbiter()
    a.offer(100 * MS, chunk(0, 0), np.zeros(3))
    leads_to = a.plan.foreseen(200 * MS)
    off = leads_to + np.array([2 * PREMISE_RAD, 0.0, 0.0])
    late = chunk(1, 100, ahead_ns=100 * MS)
    assert a.offer(190 * MS, late, np.zeros(3), off) is Refusal.PREMISE
    assert a.chunk.seq == 0
    switch_only = leads_to + np.array([0.0, 0.0, 1.0])
    assert (
        a.offer(195 * MS, chunk(2, 100, ahead_ns=100 * MS), np.zeros(3), switch_only)
        is Refusal.NONE
    )


def test_a_plan_about_to_run_out_gives_way_to_any_chunk():
    a = arbiter()
    a.offer(100 * MS, chunk(0, 0), np.zeros(3))
    off = np.full(3, 99.0)
    assert a.offer(340 * MS, chunk(1, 200), np.zeros(3), off) is Refusal.PREMISE
    assert a.offer(360 * MS, chunk(2, 200), np.zeros(3), off) is Refusal.NONE
    assert a.choose(700 * MS) is None
    assert a.offer(710 * MS, chunk(3, 700), np.zeros(3), off) is Refusal.NONE


def reading(at_ns: int, switch: float = 1.0, holding: bool = True) -> Reading:
    zero = np.zeros(2)
    return Reading(
        at_ns, np.array([0.2, 0.1]), zero, zero, np.zeros(3), switch, holding, (), (),
        Effort.none(2),
    )  # fmt: skip


def foresight() -> Foresight:
    return Foresight(lambda q: np.array([q[0], q[1], 7.0]), 400 * MS)


def test_the_delay_to_expect_is_the_median_of_the_last_answers():
    f = foresight()
    assert f.ahead_ns == 0
    for delay_ms in (10, 300, 20, 30, 25):
        f.answered(delay_ms * MS)
    assert f.ahead_ns == 25 * MS
    for _ in range(ANSWERS):
        f.answered(900 * MS)
    assert f.ahead_ns == 400 * MS, "an answer past the validity would be of no use"


def test_the_body_is_expected_to_go_on_as_commanded_from_where_it_was_measured():
    f, plan = foresight(), ChunkPlan(chunk(0, 0), 0, np.zeros(3))
    setpoint = np.array([0.25, 0.0, 1.0])
    later = f.expect(4, reading(0), 100 * MS, plan, setpoint)
    assert later.captured_ns == 100 * MS
    assert later.position_rad == pytest.approx([0.2 + 2.0 - 0.25, 0.1])
    assert later.tool_m == pytest.approx([1.95, 0.1, 7.0])
    assert later.holding
    assert f.premise(4) == pytest.approx([2.0, 0.0, 1.0])
    assert f.premise(5) is None
    still = f.expect(5, reading(0), 100 * MS, None, setpoint)
    assert still.position_rad == pytest.approx([0.2, 0.1])


def test_a_tool_whose_switch_will_be_off_is_expected_to_let_go():
    off = chunk(0, 0)
    off.actions[4:, 2] = 0.0
    f, plan = foresight(), ChunkPlan(off, 0, np.zeros(3))
    assert f.expect(0, reading(0), 150 * MS, plan, np.ones(3)).holding
    assert not f.expect(1, reading(0), 250 * MS, plan, np.ones(3)).holding
    assert not f.expect(2, reading(0, holding=False), 150 * MS, plan, np.ones(3)).holding


def test_expectations_are_bounded():
    f = foresight()
    for seq in range(3 * PREMISES):
        f.expect(seq, reading(0), MS, None, np.zeros(3))
    kept = [seq for seq in range(3 * PREMISES) if f.premise(seq) is not None]
    assert kept == list(range(2 * PREMISES, 3 * PREMISES))


class Rig:
    """A node whose answers come `delay_ms` after the question and move joint a to and fro."""

    def __init__(self, delay_ms: int, acting: ActingConfig) -> None:
        self.robot = embodiment()
        self.node = DeviceNode("arm", 1, self.robot, DeviceConfig(acting=acting), "test")
        self.delay_ns, self.now = delay_ms * MS, NS_PER_S
        self.node.on_start(self.now)
        self.asked: list[Observation] = []
        self.truth: dict[int, np.ndarray] = {}
        self.segments: list = []
        self._under_way: deque[tuple[int, ActionChunk]] = deque()

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * NS_PER_S / PERIOD_NS)):
            self.now += PERIOD_NS
            while self._under_way and self._under_way[0][0] <= self.now:
                self.node.on_message(self.now, "edge", self._under_way.popleft()[1])
            reading = self.robot.body.read(self.now)
            self.truth[self.now] = reading.position_rad
            setpoint, effects = self.node.on_tick(self.now, reading)
            self.robot.body.write(setpoint)
            self.node.on_written(self.now)
            for message in (e.message for e in effects):
                if isinstance(message, Observation):
                    self.asked.append(message)
                    self._under_way.append((self.now + self.delay_ns, self._answer(message)))
                elif isinstance(message, Sealed):
                    self.segments.append(Codec().decode(message.body.data))

    def _answer(self, to: Observation) -> ActionChunk:
        anchor_s = (to.captured_ns + to.ahead_ns) / NS_PER_S
        due_s = anchor_s + 0.05 * np.arange(1, 9)
        rows = np.zeros((8, 3), np.float32)
        rows[:, 0] = 0.5 * np.sin(2.0 * due_s)
        return chunk(to.seq, 0, captured_ns=to.captured_ns, ahead_ns=to.ahead_ns,
                     valid_until_ns=to.captured_ns + POLICY.validity_ns, actions=rows)  # fmt: skip

    def at(self, at_ns: int) -> np.ndarray:
        return self.truth[min(self.truth, key=lambda t: abs(t - at_ns))]


def test_what_is_asked_is_what_the_world_will_be_when_the_answer_acts():
    rig = Rig(200, PREDICT)
    rig.run(4)
    asked = [o for o in rig.asked[30:] if o.captured_ns + o.ahead_ns <= rig.now]
    assert all(abs(o.ahead_ns - 200 * MS) <= PERIOD_NS for o in asked)
    wrong = [abs(o.features[0] - rig.at(o.captured_ns + o.ahead_ns)[0]) for o in asked]
    naive = [abs(rig.at(o.captured_ns)[0] - rig.at(o.captured_ns + o.ahead_ns)[0]) for o in asked]
    assert max(wrong) < 0.02
    assert np.mean(wrong) < 0.1 * np.mean(naive)
    assert rig.node.arbiter.rung is Rung.EDGE


def test_experience_is_what_the_world_was_whatever_was_asked():
    rig = Rig(200, PREDICT)
    rig.run(4)
    segment = rig.segments[4]
    asked = {o.captured_ns: o for o in rig.asked}
    for captured_ns, features in zip(segment.captured_ns.tolist(), segment.features, strict=True):
        assert features[:2] == pytest.approx(rig.truth[captured_ns], abs=1e-6)
    gaps = [
        abs(asked[c].features[0] - f[0])
        for c, f in zip(segment.captured_ns.tolist(), segment.features, strict=True)
    ]
    assert max(gaps) > 0.05, "what was asked was predicted"
    assert (segment.age_ns >= 200 * MS).all(), "age counts from the capture"


@pytest.mark.parametrize("predict", [False, True])
def test_the_ledger_says_how_far_ahead_was_asked_and_counts_age_from_the_capture(predict):
    rig = Rig(200, ActingConfig(predict=predict))
    rig.run(4)
    rows = rig.node.report(rig.now, last=True).decisions[20:50]
    ahead = rows[:, INDEX["ahead_ns"]]
    assert ((abs(ahead - 200 * MS) <= PERIOD_NS) if predict else (ahead == 0)).all()
    acted = rows[rows[:, INDEX["applied_ns"]] > 0]
    assert len(acted) > 20
    ages = acted[:, INDEX["applied_ns"]] - acted[:, INDEX["captured_ns"]]
    assert (abs(ages - 200 * MS) <= PERIOD_NS).all()


def test_the_default_is_what_was_measured_to_be_best():
    assert DeviceConfig().acting == ActingConfig(anchor="capture", predict=True, blend_ms=100.0)


@pytest.mark.parametrize("bad", [{"blend_ms": -1.0}, {"blend_ms": 501.0}])
def test_acting_is_checked(bad):
    with pytest.raises(ValueError, match="blend_ms"):
        ActingConfig(**bad)
