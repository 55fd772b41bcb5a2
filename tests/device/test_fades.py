"""What a fade may draw on: nothing withdrawn, expired, of another episode or from before a hold."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plant import PERIOD_NS, POLICY, SPEC, embodiment

from tierloop.contract.body import Episode
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.ledger import Refusal
from tierloop.contract.messages import ActionChunk, Observation
from tierloop.device.arbiter import PREMISE_RAD, Arbiter
from tierloop.device.chunks import FADES, ChunkPlan, by_motion, motion_ns
from tierloop.device.config import ActingConfig, DeviceConfig
from tierloop.device.node import DeviceNode

MS = NS_PER_MS
BLEND_MS = 100.0
HOLD_NS = NS_PER_S


def chunk(seq: int, captured_ms: int, value: float, **changes) -> ActionChunk:
    """All joints at `value` in every row."""
    captured_ns = captured_ms * MS
    made = ActionChunk(
        device="arm", boot=1, seq=seq, captured_ns=captured_ns, period_ns=50 * MS,
        valid_until_ns=captured_ns + 400 * MS, policy_version=4, tier="edge", batch=1,
        held_ns=0, compute_ns=0, actions=np.full((8, 3), value, np.float32),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def arbiter() -> Arbiter:
    return Arbiter("arm", 1, POLICY, SPEC, HOLD_NS, ActingConfig(blend_ms=BLEND_MS))


def wishes(a: Arbiter, since_ms: int, until_ms: int) -> list[list[float]]:
    chosen = [a.choose(t * MS) for t in range(since_ms, until_ms)]
    return [wish.tolist() for wish in chosen if wish is not None]


def in_force(version: int = 4) -> Arbiter:
    """In the middle of a fade from version 3 to `version`, at 60 ms."""
    a = arbiter()
    a.offer(0, chunk(0, 0, -1.0, policy_version=3), np.full(3, -1.0))
    wishes(a, 0, 40)
    a.offer(40 * MS, chunk(1, 30, 1.0, policy_version=version), np.full(3, -1.0))
    wishes(a, 40, 60)
    assert a.plan is not None
    assert a.plan.fades == 1
    return a


def alone(made: ActionChunk, setpoint: np.ndarray) -> list[list[float]]:
    """What is wished where there was nothing before."""
    a = arbiter()
    assert a.offer(60 * MS, made, setpoint) is Refusal.NONE
    return wishes(a, 60, 300)


SETPOINT = np.array([-0.6, -0.6, 1.0])


def test_after_a_step_back_nothing_of_the_withdrawn_version_acts():
    a, back = in_force(), chunk(2, 50, 0.3, policy_version=3)
    assert a.offer(60 * MS, back, SETPOINT) is Refusal.NONE
    came = wishes(a, 60, 300)
    assert came == alone(back, SETPOINT)
    assert came[0][:2] == SETPOINT[:2].tolist(), "it moves on from where the setpoint is"


@pytest.mark.parametrize("version", [4, 5])
def test_the_same_version_and_a_newer_one_are_faded_into(version):
    a, on = in_force(), chunk(2, 50, 0.3, policy_version=version)
    a.offer(60 * MS, on, SETPOINT)
    assert a.plan.fades == 2
    assert wishes(a, 60, 300) != alone(on, SETPOINT)


def test_a_withdrawn_version_does_not_go_on_because_a_premise_failed():
    a, off = in_force(), np.full(3, 2 * PREMISE_RAD) + 1.0
    on = chunk(2, 50, 0.3)
    assert a.offer(60 * MS, on, SETPOINT, off) is Refusal.PREMISE
    back = chunk(3, 55, 0.3, policy_version=3)
    assert a.offer(60 * MS, back, SETPOINT, off) is Refusal.NONE


@pytest.mark.parametrize(("ended_ms", "parts"), [(30, False), (31, True), (50, True), (51, False)])
def test_nothing_of_another_episode_is_blended(ended_ms, parts):
    """In force is what was seen at 30 ms; what comes was seen at 50 ms."""
    a, on = in_force(), chunk(2, 50, 0.3)
    a.part(ended_ms * MS)
    a.part(200 * MS)
    a.offer(60 * MS, on, SETPOINT)
    assert (wishes(a, 60, 300) == alone(on, SETPOINT)) is parts


def test_nothing_from_before_a_hold_is_blended():
    a = in_force()
    assert a.choose(500 * MS) is None
    on = chunk(2, 490, 0.3)
    a.offer(500 * MS, on, SETPOINT)
    fresh = arbiter()
    fresh.offer(500 * MS, on, SETPOINT)
    assert wishes(a, 500, 700) == wishes(fresh, 500, 700)


def test_a_node_parts_what_it_does_where_an_episode_ends():
    robot = embodiment()
    node = DeviceNode("arm", 1, robot, DeviceConfig(), "test")
    now_ns, faded = NS_PER_S, []
    node.on_start(now_ns)
    for tick in range(240):
        now_ns += PERIOD_NS
        if tick == 121:
            robot.body.outcomes = (Episode(0, True, "reached", NS_PER_S, now_ns),)
        _, effects = node.on_tick(now_ns, robot.body.read(now_ns))
        node.on_written(now_ns)
        for asked in (e.message for e in effects if isinstance(e.message, Observation)):
            node.on_message(now_ns, "edge", chunk(
                asked.seq, 0, 0.1 + 0.02 * (asked.seq % 2),
                captured_ns=asked.captured_ns, ahead_ns=asked.ahead_ns,
                valid_until_ns=asked.captured_ns + POLICY.validity_ns,
            ))  # fmt: skip
            faded.append((tick, node.arbiter.plan.fades))
    alone = [tick for tick, fades in faded if fades == 0]
    assert alone == [faded[0][0], min(tick for tick, _ in faded if tick >= 121)]


class Noted(ChunkPlan):
    """Notes when it was asked where it leads."""

    def __init__(self, *args) -> None:
        self.asked: list[int] = []
        super().__init__(*args)

    def _at(self, now_ns: int) -> list[float]:
        self.asked.append(now_ns)
        return super()._at(now_ns)


@pytest.mark.parametrize("tick_ms", [1, 3, 7])
@pytest.mark.parametrize("captured_ms", [310, 345, 390])
def test_a_chunk_that_expires_in_mid_fade_is_not_drawn_on_and_leaves_no_jump(captured_ms, tick_ms):
    old = Noted(chunk(0, 0, 0.91), 0, np.full(3, 0.91))
    old.at(captured_ms * MS)
    new = ChunkPlan(
        chunk(1, captured_ms, 0.0), captured_ms * MS, np.zeros(3), None, old, lambda _: 100 * MS
    )  # fmt: skip
    path = [new.at(t * MS)[0] for t in range(captured_ms, captured_ms + 120, tick_ms)]
    assert max(old.asked) < 400 * MS
    assert path[0] == pytest.approx(0.91)
    assert path[-1] == 0.0
    steps = -np.diff(path)
    assert (steps >= -1e-12).all()
    assert steps.max() <= 0.91 * tick_ms / 100 + 1e-6, "no steeper than the fade itself"


@pytest.mark.parametrize("gap_ms", [0, 1, 5])
def test_a_chain_of_fades_is_bounded_however_many_answers_come_at_once(gap_ms):
    plan, now_ns = None, 0
    for seq in range(60):
        now_ns += gap_ms * MS
        setpoint = np.zeros(3) if plan is None else plan.at(now_ns)
        plan = ChunkPlan(
            chunk(seq, now_ns // MS, seq % 2), now_ns, setpoint, None, plan, lambda _: 500 * MS
        )
        assert plan.fades <= FADES
        assert 0.0 <= plan.at(now_ns)[0] <= 1.0


def quickest_s(way: float, fastest: float, acceleration: float) -> float:
    """By brute force: speeds up as long as it can still brake."""
    step_s, at, speed, took_s = 1e-5, 0.0, 0.0, 0.0
    while at < way:
        brakes = speed**2 / (2 * acceleration) >= way - at
        speed += -acceleration * step_s if brakes else acceleration * step_s
        speed = min(speed, fastest)
        if speed <= 0.0:
            break
        at, took_s = at + speed * step_s, took_s + step_s
    return took_s


@given(st.lists(st.floats(-0.6, 0.6), min_size=2, max_size=2))
@settings(max_examples=20, deadline=None)
def test_a_fade_by_motion_lasts_as_long_as_the_slowest_joint_needs(gap_rad):
    limits = [(0.9, 4.0), (2.0, 10.0)]
    needs_s = max(quickest_s(abs(g), *limit) for g, limit in zip(gap_rad, limits, strict=True))
    assert motion_ns(limits, gap_rad) / NS_PER_S == pytest.approx(needs_s, rel=0.02, abs=1e-3)


def test_plans_that_agree_are_not_faded_and_others_until_the_joints_can_have_come_there():
    old, rule = chunk(0, 0, 0.5), by_motion(SPEC, 150 * MS)
    for value in (0.5, 0.52, 0.7, 1.5):
        before = ChunkPlan(old, 0, np.full(3, 0.5))
        new = ChunkPlan(chunk(1, 30, value), 79 * MS, np.full(3, 0.5), None, before, rule)
        limits = [*zip(SPEC.velocity_rad_s, SPEC.acceleration_rad_s2, strict=True)]
        needs_ms = min(motion_ns(limits, [value - 0.5] * 2) / MS, 150)
        assert new.fades == (value > 0.5)
        path = {t: new.at(t * MS)[0] for t in range(79, 400)}
        there = [t for t, at in path.items() if at == pytest.approx(value, abs=1e-6)]
        assert there[0] == np.ceil(79 + max(needs_ms, 1 * (value > 0.5))), value


GAP_RAD = 0.1


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("further_rad", [0.0, 0.002, -0.02, -GAP_RAD])
def test_a_chunk_amid_a_fade_leaves_no_step_that_the_joints_cannot_do(further_rad, share, late):
    """The third may agree with the second, which the setpoint has not reached yet."""
    rule, period_ms = by_motion(SPEC, NS_PER_S), 50
    needs_ms = rule([GAP_RAD, GAP_RAD]) / MS
    first = ChunkPlan(chunk(0, 0, 0.0), 0, np.zeros(3))
    amid_ms = 60 + int(share * needs_ms)
    path = [first.at(t * MS)[0] for t in range(60)]
    plan = ChunkPlan(chunk(1, 0, GAP_RAD), 60 * MS, np.zeros(3), None, first, rule)
    path += [plan.at(t * MS)[0] for t in range(60, amid_ms)]
    seen_ms = amid_ms - (period_ms + 10 if late else 10)
    third = chunk(2, seen_ms, GAP_RAD + further_rad)
    plan = ChunkPlan(third, amid_ms * MS, np.full(3, path[-1]), None, plan, rule)
    path += [plan.at(t * MS)[0] for t in range(amid_ms, amid_ms + 250)]
    assert path[-1] == pytest.approx(GAP_RAD + further_rad)
    assert np.abs(np.diff(path)).max() <= SPEC.velocity_rad_s[0] / 1000
