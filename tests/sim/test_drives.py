"""The law of the drives: against plain integration, at every rate, and what reality changes."""

from math import pi

import numpy as np
import pytest
from plant import SPEC

from tierloop.sim.bodies.plant import HOME_RAD, Plant
from tierloop.sim.drives import Drives, Dynamics
from tierloop.sim.embody import embody
from tierloop.sim.reality import Reality
from tierloop.sim.scenario import Scenario

STEPS = 12
CONTROL_NS = 4_166_664  # divides by 1, 2, 3, 4 and 12
SETPOINTS = np.cumsum(np.random.default_rng(0).normal(0, 0.02, 40))
KINDS = {
    "panda": Dynamics(20.0, 1.6),
    "much lag": Dynamics(20.0, 60.0),
    "no lag": Dynamics(8.0, 0.0),
    "one time constant": Dynamics(20.0, 1e3 / (2 * pi * 20.0)),
    "hardly any lag": Dynamics(20.0, 1e-12),
}


def follow(dynamics: Dynamics, steps: int, fastest: float = 99.0) -> np.ndarray:
    """Where one joint is at the end of each control period."""
    drives = Drives(dynamics, (fastest,), CONTROL_NS, CONTROL_NS // steps)
    at, way = 0.0, []
    for setpoint in SETPOINTS:
        drives.write((setpoint,))
        for _ in range(steps):
            at += drives.step((at,))[0] * CONTROL_NS / steps * 1e-9
        way.append(at)
    return np.array(way)


@pytest.mark.parametrize("kind", KINDS)
def test_the_law_is_kept_exactly_at_any_rate_of_physics(kind):
    one = follow(KINDS[kind], 1)
    for steps in (2, 4, STEPS):
        np.testing.assert_allclose(follow(KINDS[kind], steps), one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["panda", "much lag", "one time constant"])
def test_the_law_is_that_of_its_differential_equations(kind):
    dynamics, fine = KINDS[kind], 1000
    step_s = CONTROL_NS * 1e-9 / fine
    before = lagged = at = 0.0
    for setpoint, found in zip(SETPOINTS[:10], follow(dynamics, 1), strict=False):
        for i in range(fine):
            ramp = before + (setpoint - before) * (i + 0.5) / fine
            lagged, was = lagged + step_s * (ramp - lagged) / dynamics.lag_ms * 1e3, lagged
            at += step_s * 2 * pi * dynamics.bandwidth_hz * ((lagged + was) / 2 - at)
        before = setpoint
        assert found == pytest.approx(at, abs=2e-5)


def test_a_joint_turns_no_faster_than_it_may():
    way = follow(KINDS["panda"], 1, fastest=0.1)
    assert np.abs(np.diff(way)).max() <= 0.1 * CONTROL_NS * 1e-9 * (1 + 1e-9)


def test_behind_a_moving_setpoint_it_is_as_late_as_its_parts():
    """Each time constant adds itself; a setpoint is for the end of its control period."""
    drives = Drives(KINDS["panda"], (99.0,), CONTROL_NS, CONTROL_NS)
    at, speed = 0.0, 0.5
    for tick in range(1, 200):
        drives.write((speed * tick * CONTROL_NS * 1e-9,))
        at += drives.step((at,))[0] * CONTROL_NS * 1e-9
    behind_s = 199 * CONTROL_NS * 1e-9 - at / speed
    assert behind_s == pytest.approx(1.6e-3 + 1 / (2 * pi * 20.0), rel=1e-6)


def settle(reality: Reality, ms: int, to: float = 1.0) -> float:
    plant = Plant(SPEC, np.array(HOME_RAD), reality)
    plant.read(0)
    plant.write(np.array([to, 0.0, 0.0]))
    return float(plant.read(ms * 1_000_000).position_rad[0])


def test_a_real_plant_lags_is_slower_and_weaker_as_it_is_told():
    nominal = settle(Reality(), 30)
    assert 0.7 < nominal < 0.8
    assert settle(Reality(drive_lag_ms=50), 30) < 0.3
    assert settle(Reality(drive_bandwidth=0.2), 30) < 0.4
    assert settle(Reality(drive_strength=0.02), 30) < 0.35  # 0.2 Nm of 1 Nm at the start
    slow = settle(Reality(drive_strength=0.02), 2000)
    assert slow == pytest.approx(1.0, abs=1e-3), "weak, but it gets there"


@pytest.mark.parametrize(
    "reality",
    [Reality(drive_lag_ms=50), Reality(drive_bandwidth=0.2), Reality(drive_strength=0.05)],
)
def test_a_real_arm_stays_behind_its_nominal_self(reality):
    def gone(of: Reality) -> float:
        body = embody(Scenario(), 1, of).body
        start = body.read(0).position_rad
        setpoint = body.hold()
        setpoint[0] += 0.03
        body.write(setpoint)
        reading = body.read(30_000_000)
        body.close()
        return float(reading.position_rad[0] - start[0])

    assert gone(reality) < 0.75 * gone(Reality())


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"drive_lag_ms": -1.0}, "drive_lag_ms must lie between 0 and 1000, not -1"),
        ({"drive_bandwidth": 0.0}, "drive_bandwidth must lie above 0 and at most 10, not 0"),
        ({"drive_strength": 11.0}, "drive_strength must lie above 0 and at most 10, not 11"),
    ],
)
def test_reality_is_checked_in_one_line(keys, words):
    with pytest.raises(ValueError, match=words):
        Reality(**keys)
