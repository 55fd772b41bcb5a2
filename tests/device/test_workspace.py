"""The tool stays where it may be, and is looked at only as often as that takes."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from adversary import KINDS, OUTSIDE_M, PERIOD_NS, outside_m
from plant import SPEC

from tierloop.contract.body import ToolPosition
from tierloop.contract.specs import Vector
from tierloop.device.guard import Guard, Limit
from tierloop.sim.bodies import panda


class Counted:
    """A tool position that counts how often it is asked for."""

    def __init__(self, tool_position: ToolPosition) -> None:
        self._tool_position, self.calls = tool_position, 0

    def __call__(self, position_rad: Vector) -> Vector:
        self.calls += 1
        return self._tool_position(position_rad)


def run(guard: Guard, wish: Vector, ticks: int) -> tuple[np.ndarray, list[Limit]]:
    """The postures written, float64[T, joints], and what bit."""
    steps = [guard.limit(wish, guard.setpoint[:-1], np.zeros(len(wish) - 1)) for _ in range(ticks)]
    return np.array([setpoint[:-1] for setpoint, _ in steps]), [hit for _, hit in steps]


def test_it_stops_at_the_wall_without_hammering_at_it():
    kind = KINDS["plant"]
    path, hits = run(Guard(kind.spec, kind.tool_position, np.zeros(3)), np.array([2.0, 0, 0]), 600)
    assert outside_m(kind, path).max() <= OUTSIDE_M
    assert path[-1, 0] == pytest.approx(1.8, abs=OUTSIDE_M)
    assert all(Limit.WORKSPACE in hit for hit in hits[300:])
    assert (path[300:] == path[300]).all()
    biting = [Limit.WORKSPACE in hit for hit in hits]
    assert sum(a != b for a, b in pairwise(biting)) < 12


def test_what_lies_inside_is_reached_however_near_the_wall():
    kind = KINDS["plant"]
    near = np.array([1.799, -1.799, 0.0])
    path, _ = run(Guard(kind.spec, kind.tool_position, np.zeros(3)), near, 600)
    assert path[-1] == pytest.approx(near[:-1])


def test_far_from_the_walls_the_tool_is_hardly_looked_at_and_nothing_is_changed():
    tool = Counted(panda.tool_position)
    spec, home = panda.body_spec(PERIOD_NS, PERIOD_NS), np.array([*panda.HOME_RAD, 0.0])
    guard = Guard(spec, tool, home)
    before, written, wishes = tool.calls, [], []
    for tick in range(480):
        wishes.append(home + 0.1 * np.sin(0.01 * tick) * np.append(np.ones(7), 0.0))
        written.append(guard.limit(wishes[-1], home[:-1], np.zeros(7))[0])
    assert np.allclose(written[120:], wishes[120:])
    assert tool.calls - before < 48


@pytest.mark.parametrize("outside", [1.81, 1.95])
def test_who_starts_outside_may_only_come_back(outside):
    kind, start = KINDS["plant"], np.array([outside, 0.0, 0.0])
    stays, hits = run(Guard(kind.spec, kind.tool_position, start), np.array([2.0, 0, 0]), 200)
    assert stays[:, 0].max() <= outside + OUTSIDE_M
    assert Limit.WORKSPACE in hits[-1]
    guard = Guard(kind.spec, kind.tool_position, start)
    back, _ = run(guard, np.array([1.0, 0.5, 0]), 400)
    assert back[-1] == pytest.approx([1.0, 0.5])
    again, _ = run(guard, np.array([2.0, 0.5, 0]), 400)
    assert again[:, 0].max() <= 1.8 + OUTSIDE_M, "once inside it counts as any other"


@pytest.mark.parametrize("nowhere", [np.nan, np.inf])
def test_a_tool_that_is_nowhere_stands_still(nowhere):
    guard = Guard(SPEC, lambda _: np.full(3, nowhere), np.zeros(3))
    path, hits = run(guard, np.array([1.0, 1.0, 0.0]), 50)
    assert (path == 0.0).all()
    assert set(hits[1:]) == {hits[1]}
    assert Limit.WORKSPACE in hits[0]


def chain(links: int) -> ToolPosition:
    """Links of 0.2 m in a plane."""

    def tool_position(position_rad: Vector) -> Vector:
        angles = np.cumsum(position_rad)
        return np.array([0.2 * np.cos(angles).sum(), 0.2 * np.sin(angles).sum(), 0.0])

    return tool_position


@pytest.mark.parametrize("seed", range(8))
def test_it_holds_for_a_body_of_which_only_the_tool_is_known(seed):
    """An eight-link chain that is flung about from its most stretched posture."""
    joints, rng = 8, np.random.default_rng(seed)
    spec = panda.body_spec(PERIOD_NS, PERIOD_NS)
    many = {
        field: getattr(spec, field)[:1] * joints
        for field in ("position_low_rad", "position_high_rad", "velocity_rad_s",
                      "acceleration_rad_s2", "torque_nm", "copper_w_per_nm2", "viscous_w_s2",
                      "coulomb_w_s")
    }  # fmt: skip
    spec = msgspec.structs.replace(spec, joints=tuple("abcdefgh"), **many)
    tool = chain(joints)
    guard = Guard(spec, tool, np.append(np.full(joints, rng.choice([-0.9, 0.9])), 0.0))
    worst_m = -1.0
    for _ in range(12):
        path, _ = run(guard, np.append(rng.choice([-0.1, 0.0, 0.1, 2.0, -2.0], joints), 0.0), 90)
        tools = np.array([tool(posture) for posture in path])
        worst_m = max(worst_m, float(np.abs(tools[:, :2]).max()) - 0.9)
    assert 0.0 < worst_m <= OUTSIDE_M
