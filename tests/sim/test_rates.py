"""Success and joules do not depend on how often the physics is stepped."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from tierloop.contract.body import Effort
from tierloop.device.config import DeviceConfig
from tierloop.device.meter import Meter
from tierloop.device.unlinked import Unlinked
from tierloop.sim import catalogue
from tierloop.sim.embody import embody
from tierloop.sim.scenario import Scenario, policy_spec

TICK_NS = 4_166_667


class Swing(NamedTuple):
    position: np.ndarray
    effort: np.ndarray
    joules: float


@cache
def swing(hz: int, task: str = "sort", body: str = "panda") -> Swing:
    """Two seconds of swinging joints, each at a pace of its own."""
    scenario = Scenario(task=task, body=body, physics_hz=hz)
    robot = embody(scenario, 1).body
    meter = Meter(robot.spec, DeviceConfig())
    setpoint = robot.hold()
    home, n = setpoint[:-1].copy(), len(robot.spec.joints)
    effort = np.zeros((len(Effort._fields), n))
    for tick in range(480):
        reading = robot.read(tick * robot.spec.control_period_ns)
        meter.tick(TICK_NS * 1e-9 * (tick > 0), reading.effort, 0.0)
        effort += reading.effort
        setpoint[:-1] = home + 0.15 * (1 - np.cos(np.linspace(4, 8, n) * tick / 240))
        robot.write(setpoint)
    robot.close()
    return Swing(reading.position_rad, effort, meter.joules["actuation"])


@pytest.mark.parametrize(("task", "body"), [("sort", "panda"), ("reach", "plant")])
@pytest.mark.parametrize("hz", [480, 960])
def test_a_motion_and_its_joules_are_the_same_at_any_rate_of_physics(hz, task, body):
    one, other = swing(240, task, body), swing(hz, task, body)
    np.testing.assert_allclose(other.position, one.position, rtol=0, atol=1e-4)
    assert other.joules == pytest.approx(one.joules, rel=0.02)
    assert other.effort.sum(1) == pytest.approx(one.effort.sum(1), rel=0.02, abs=0.05)


def test_work_is_what_was_summed_not_what_the_last_step_shows():
    """A body read seldom has done the same as one read often."""
    robots = [embody(Scenario(), 1).body for _ in range(2)]
    sums = []
    for robot, every in zip(robots, (1, 60), strict=True):
        setpoint = robot.hold()
        setpoint[:-1] += 0.2
        total = np.zeros((len(Effort._fields), 7)) + robot.read(0).effort
        robot.write(setpoint)
        for tick in range(every, 121, every):
            total += robot.read(tick * robot.spec.control_period_ns).effort
        sums.append(total)
        robot.close()
    np.testing.assert_allclose(sums[1], sums[0], rtol=1e-9)
    assert (sums[0][1] > 0).all()


def sorted_parts(hz: int, seed: int, parts: int = 8) -> tuple[int, float]:
    """How many parts the teacher sorts, and the watts of joints and drives meanwhile."""
    scenario = Scenario(physics_hz=hz)
    robot = embody(scenario, seed)
    device = Unlinked("arm", 1, robot, DeviceConfig(), "test")
    teach, asked = catalogue.expert(policy_spec(scenario)), None
    judged: list[bool] = []
    now_ns = 0
    while len(judged) < parts:
        if asked is not None:
            device.answer(now_ns, asked, teach(asked.features[np.newaxis])[0])
        asked = device.tick(now_ns)
        judged += [episode.success for episode in device.reading.outcomes]
        now_ns += robot.body.spec.control_period_ns
    robot.body.close()
    return sum(judged[:parts]), device.node.meter.joules["actuation"] / now_ns * 1e9


@pytest.mark.slow
def test_the_same_parts_are_sorted_for_the_same_watts_at_any_rate_of_physics():
    lived = {hz: [sorted_parts(hz, seed) for seed in range(3)] for hz in (240, 480, 960)}
    watts = {hz: float(np.mean([w for _, w in cells])) for hz, cells in lived.items()}
    apart = max(watts.values()) / min(watts.values()) - 1
    print({hz: f"{w:.2f} W" for hz, w in watts.items()}, f"{apart:.2%} apart at most")
    assert all(ok == 8 for cells in lived.values() for ok, _ in cells)
    assert watts[480] == pytest.approx(watts[240], rel=0.02)
    assert watts[960] == pytest.approx(watts[240], rel=0.02)
