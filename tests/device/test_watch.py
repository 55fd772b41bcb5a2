"""The watch is silent over guard and plan whatever is asked for, and sees each broken promise."""

from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plant import PERIOD_NS, POLICY, SPEC, Plant

from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.messages import ActionChunk, Observation
from tierloop.contract.specs import Vector
from tierloop.device.arbiter import Arbiter
from tierloop.device.guard import Guard
from tierloop.device.watch import ASKED_MAX, Watch

START = np.zeros(3)


def chunk(seq: int, captured_ns: int, rows: np.ndarray, version: int = 1) -> ActionChunk:
    return ActionChunk(
        device="arm", boot=1, seq=seq, captured_ns=captured_ns, period_ns=POLICY.period_ns,
        valid_until_ns=captured_ns + POLICY.validity_ns, policy_version=version, tier="edge",
        batch=1, held_ns=0, compute_ns=0, actions=rows.astype(np.float32),
    )  # fmt: skip


def rows(value: float = 0.5) -> np.ndarray:
    made = np.full((8, 3), value)
    made[:, 2] = np.linspace(0.1, 0.8, 8)
    return made


class Rig:
    """Arbiter, guard and watch over a plant; `told` is what the watch said."""

    def __init__(self) -> None:
        self.plant, self.told = Plant(), []
        self.arbiter = Arbiter("arm", 1, POLICY, SPEC, NS_PER_S)
        self.guard = Guard(SPEC, self.plant.tool_position, START)
        self.watch = Watch(
            SPEC, self.plant.tool_position, POLICY, True, START,
            lambda *words: self.told.append(words),
        )  # fmt: skip
        self.now, self.setpoint = 0, START

    def offer(self, made: ActionChunk) -> None:
        self.arbiter.offer(self.now, made, self.setpoint)

    def tick(self, ticks: int = 1, spoil=lambda setpoint: setpoint) -> None:
        for _ in range(ticks):
            self.now += PERIOD_NS
            reading = self.plant.read(self.now)
            wish = self.arbiter.choose(self.now)
            limited, _ = self.guard.limit(wish, reading.position_rad, reading.torque_nm)
            self.setpoint = spoil(limited)
            self.plant.write(self.setpoint)
            self.watch.wrote(self.now, self.setpoint, self.arbiter.chunk)

    @property
    def found(self) -> Counter:
        return +self.watch.found


@pytest.mark.untraced
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 120), st.integers(0, 500),
            st.lists(st.floats(-3, 3), min_size=24, max_size=24),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_whatever_is_asked_for_nothing_is_broken(asked):
    rig = Rig()
    for seq, (ticks, age_ms, values) in enumerate(asked):
        rig.tick(ticks)
        made = np.array(values).reshape(8, 3)
        rig.offer(chunk(seq, max(0, rig.now - age_ms * NS_PER_MS), made))
    rig.tick(200)
    assert not rig.found, rig.told


def test_an_action_past_its_validity():
    rig = Rig()
    rig.offer(chunk(0, 0, rows()))
    rig.tick(90)
    late = chunk(0, 0, rows())
    rig.watch.wrote(401 * NS_PER_MS, rig.setpoint, late)
    assert "stale_action" in rig.found
    rig.watch.wrote(402 * NS_PER_MS, rig.setpoint, late)
    assert rig.watch.found["stale_action"] == 2
    assert len([t for t in rig.told if "stale" in t[2]]) == 1


def spoilt(change: Vector):
    return lambda setpoint: setpoint + change


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (spoilt(np.array([0.05, 0, 0])), "limit_velocity"),
        (spoilt(np.array([0.002, 0, 0])), "limit_acceleration"),
        (spoilt(np.array([3.0, 0, 0])), "limit_position"),
        (spoilt(np.array([0, 0, 1.5])), "limit_switch"),
        (spoilt(np.array([0, 0, 0.1])), "row_due"),
    ],
)
def test_a_setpoint_beyond_its_limits(spoil, name):
    rig = Rig()
    rig.offer(chunk(0, 0, rows(0.1)))
    rig.tick(20)
    assert not rig.found
    rig.tick(1, spoil)
    assert name in rig.found


def unwalled(rig: Rig) -> None:
    """The guard knows of no workspace."""
    wide = msgspec.structs.replace(SPEC, workspace_low_m=(-9.0,) * 3, workspace_high_m=(9.0,) * 3)
    rig.guard = Guard(wide, rig.plant.tool_position, START)


def test_a_tool_outside_the_workspace_and_nothing_else():
    rig = Rig()
    unwalled(rig)
    for seq in range(40):
        rig.offer(chunk(seq, rig.now, rows(1.9)))
        rig.tick(12)
    assert set(rig.found) == {"limit_workspace"}
    assert "mm outside" in rig.told[0][2]
    rig = Rig()
    for seq in range(40):
        rig.offer(chunk(seq, rig.now, rows(1.9)))
        rig.tick(12)
    assert not rig.found


def test_a_tool_that_starts_outside_may_come_back_but_not_go_out_again():
    rig, start = Rig(), np.array([1.95, 0.0, 0.0])
    rig.watch = Watch(SPEC, rig.plant.tool_position, POLICY, True, start, lambda *_: None)
    path = [*np.linspace(1.95, 1.7, 160), *np.linspace(1.7, 1.95, 160)]
    found = []
    for tick, a in enumerate(path):
        rig.watch.wrote(tick * PERIOD_NS, np.array([a, 0.0, 0.0]), None)
        found.append(rig.watch.found["limit_workspace"])
    assert found[160] == 0
    assert found[-1] > 0


def test_a_body_that_goes_on_without_an_action():
    rig = Rig()
    rig.offer(chunk(0, 0, rows(2.0)))
    rig.tick(40)
    moving = rig.guard.setpoint.copy()
    rig.tick(1)
    step = rig.guard.setpoint - moving
    assert abs(step[0]) > 1e-3
    rig.watch.wrote(rig.now + PERIOD_NS, rig.setpoint + step, None)
    assert "not_held" in rig.found


def test_order_and_versions_of_actions():
    rig = Rig()
    rig.offer(first := chunk(5, 0, rows(0.0)))
    rig.tick(3)
    mixed = msgspec.structs.replace(first, policy_version=2)
    rig.watch.wrote(rig.now + PERIOD_NS, rig.setpoint, mixed)
    assert "version_mixed" in rig.found
    rig.watch.wrote(rig.now + 2 * PERIOD_NS, rig.setpoint, chunk(4, 0, rows(0.0)))
    assert "action_order" in rig.found


def test_ticks_made_up_for():
    rig = Rig()
    rig.tick(5)
    rig.now += 20 * PERIOD_NS
    rig.tick(5)
    assert not rig.found
    for _ in range(2):
        rig.watch.wrote(rig.now, rig.setpoint, None)
    assert set(rig.found) == {"tick_replayed"}


@pytest.mark.parametrize(
    "lie", [{"captured_ns": 1}, {"ahead_ns": 5}, {"boot": 2}, {"seq": 3}, {"seq": 9}]
)
def test_an_action_that_answers_no_question_is_seen_by_the_watch_alone(lie):
    """It keeps its own list of what was asked, whatever the arbiter believes."""
    told = []
    watch = Watch(
        SPEC, Plant().tool_position, POLICY, False, START, lambda *words: told.append(words)
    )
    features = np.zeros(4, np.float32)
    for seq in (1, 2):
        at_ns = seq * PERIOD_NS
        watch.asked(
            Observation(device="arm", boot=1, seq=seq, captured_ns=at_ns, features=features)
        )
    watch.wrote(2 * PERIOD_NS, START, chunk(1, PERIOD_NS, rows(0.0)))
    assert not told
    made = msgspec.structs.replace(chunk(2, 2 * PERIOD_NS, rows(0.0)), **lie)
    watch.wrote(3 * PERIOD_NS, START, made)
    watch.wrote(4 * PERIOD_NS, START, made)
    assert watch.found["unasked_action"] == 1, "an action is judged once"
    assert told[0][2] == f"unasked_action: action {made.seq} answers no question"


def test_the_watch_keeps_so_many_questions():
    watch = Watch(SPEC, Plant().tool_position, POLICY, True, START, lambda *words: None)
    features = np.zeros(4, np.float32)
    for seq in range(2 * ASKED_MAX):
        watch.asked(Observation(device="arm", boot=1, seq=seq, captured_ns=seq, features=features))
    assert len(watch._asked) == ASKED_MAX
