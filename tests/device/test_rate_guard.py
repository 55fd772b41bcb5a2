import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from plant import SPEC, Plant

from tierloop.device.guard import Guard, Limit
from tierloop.device.rate import Rate

DT_S = SPEC.control_period_ns * 1e-9


def guard() -> Guard:
    return Guard(SPEC, Plant().tool_position, np.zeros(3))


def test_rate_keeps_absolute_deadlines():
    rate = Rate(100, start_ns=0)
    assert rate.tick(100) == 0
    assert rate.tick(230) == 30
    assert rate.deadline_ns == 300
    assert rate.tick(90) == 0
    assert rate.tick(1050) == 650
    assert (rate.ticks, rate.missed, rate.deadline_ns) == (4, 6, 1100)


wild = st.floats(allow_nan=True, allow_infinity=True, width=64)
wishes = hnp.arrays(np.float64, 3, elements=wild)


@given(st.lists(wishes, min_size=1, max_size=30), hnp.arrays(np.float64, 2, elements=wild))
def test_whatever_is_wished_stays_within_every_limit(asked, torque):
    """Position, velocity, acceleration and switch hold on every step of any sequence."""
    g, plant = guard(), Plant()
    last, last_velocity = np.zeros(3), np.zeros(2)
    for wish in asked:
        setpoint, _ = g.limit(wish, last[:-1], np.nan_to_num(torque))
        velocity = (setpoint[:-1] - last[:-1]) / DT_S
        assert np.isfinite(setpoint).all()
        assert (np.abs(setpoint[:-1]) <= 2.0).all()
        assert (np.abs(velocity) <= 3.0 + 1e-6).all()
        assert (np.abs(velocity - last_velocity) <= 20.0 * DT_S + 1e-6).all()
        assert 0.0 <= setpoint[-1] <= 1.0
        last, last_velocity = setpoint, velocity
    assert np.isfinite(plant.tool_position(last[:-1])).all()


@pytest.mark.parametrize("wish", [np.zeros(2), np.zeros((3, 1)), np.array([np.nan, 0, 0])])
def test_a_malformed_wish_stands_still(wish):
    g = guard()
    setpoint, hit = g.limit(wish, np.zeros(2), np.zeros(2))
    assert hit == Limit.MALFORMED
    assert (setpoint == 0).all()


def run(g: Guard, wish: np.ndarray, ticks: int, torque: np.ndarray | None = None) -> list:
    steps = []
    for _ in range(ticks):
        position = g.setpoint[:-1].copy()
        steps.append(g.limit(wish, position, np.zeros(2) if torque is None else torque))
    return steps


def test_it_arrives_without_overshoot_and_says_what_bit():
    g = guard()
    steps = run(g, np.array([1.0, 0.5, 1.0]), 400)
    path = np.array([s[:-1] for s, _ in steps])
    assert path.max(axis=0) == pytest.approx([1.0, 0.5], abs=1e-6)
    assert np.allclose(path[-1], [1.0, 0.5])
    assert Limit.ACCELERATION in steps[0][1]
    assert steps[-1][1] == Limit.NONE
    assert not g.moving


def test_it_follows_a_ramp_without_lag():
    g = guard()
    for tick in range(1, 400):
        target = 0.4 * tick * DT_S
        setpoint, _ = g.limit(np.array([target, 0.0, 0.0]), np.zeros(2), np.zeros(2))
    assert setpoint[0] == pytest.approx(target, abs=1e-6)


def test_position_and_velocity_bits():
    g = guard()
    hits = [hit for _, hit in run(g, np.array([9.0, 0.0, 0.0]), 600)]
    assert Limit.POSITION in hits[0]
    assert any(Limit.VELOCITY in h for h in hits)


def test_an_overloaded_joint_does_not_push_on():
    g = guard()
    run(g, np.array([1.0, 0.0, 0.0]), 40)
    lead = g.setpoint[0]
    for _ in range(200):
        setpoint, hit = g.limit(np.array([1.0, 0.0, 0.0]), np.zeros(2), np.array([11.0, 0.0]))
    assert Limit.TORQUE in hit
    assert setpoint[0] - lead < 3.0**2 / (2 * 20.0)
    away, _ = g.limit(np.array([-1.0, 0.0, 0.0]), np.zeros(2), np.array([11.0, 0.0]))
    assert away[0] < setpoint[0]


@pytest.mark.parametrize("wish", [None, np.full(3, np.nan)], ids=["hold", "malformed"])
def test_a_moving_setpoint_brakes_to_rest_when_nothing_valid_is_wished(wish):
    """Held while under way, it stops within its braking distance and stays; it does not coast."""
    g = guard()
    for tick in range(1, 240):
        g.limit(np.array([0.3 * tick * DT_S, 0.0, 1.0]), np.zeros(2), np.zeros(2))
    start = g.setpoint.copy()
    assert g.moving
    steps = [g.limit(wish, g.setpoint[:-1], np.zeros(2))[0] for _ in range(60)]
    assert not g.moving
    assert abs(steps[-1][0] - start[0]) <= 0.3**2 / (2 * 20.0) + 1e-6
    assert (steps[-1] == steps[10]).all()
    assert steps[-1][-1] == 1.0


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("lost_at", range(100, 200, 5))
def test_a_wish_that_runs_into_the_end_of_the_range_can_be_given_up_at_any_tick(side, lost_at):
    g = Guard(SPEC, lambda _: np.zeros(3), np.zeros(3))
    written = []
    for tick in range(260):
        wish = np.full(3, side * 2.9 * DT_S * tick) if tick < lost_at else None
        written.append(g.limit(wish, np.zeros(2), np.zeros(2))[0][:2])
    change = np.abs(np.diff(written, 2, axis=0)) / DT_S
    assert (change <= np.array(SPEC.acceleration_rad_s2) * DT_S + 2e-6).all()
    assert np.abs(written).max() <= SPEC.position_high_rad[0]


@pytest.mark.parametrize("seed", range(20))
def test_from_anywhere_the_end_of_the_range_is_met_within_the_joints_limits(seed):
    start = np.append(np.random.default_rng(seed).uniform(-2.0, 2.0, 2), 0.0)
    g = Guard(SPEC, lambda _: np.zeros(3), start)
    beyond = np.array([3.0, -3.0, 0.0])
    written = np.array([start, start, *(setpoint for setpoint, _ in run(g, beyond, 800))])[:, :2]
    change = np.abs(np.diff(written, 2, axis=0)) / DT_S
    assert (change <= np.array(SPEC.acceleration_rad_s2) * DT_S * (1 + 1e-6)).all()
    assert written[-1].tolist() == pytest.approx([2.0, -2.0])


@pytest.mark.parametrize("measured", ["torque", "position"])
def test_a_measurement_that_is_no_number_lets_no_joint_push_on(measured):
    g = guard()
    run(g, np.array([1.0, 0.0, 0.0]), 40)
    lead = g.setpoint[0]
    torque = np.array([np.nan if measured == "torque" else 11.0, 0.0])
    position = np.array([np.nan if measured == "position" else 0.0, 0.0])
    for _ in range(200):
        setpoint, hit = g.limit(np.array([1.0, 0.0, 0.0]), position, torque)
    assert Limit.TORQUE in hit
    assert setpoint[0] - lead < 3.0**2 / (2 * 20.0)
