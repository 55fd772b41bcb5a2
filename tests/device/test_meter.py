"""Joules by part and by cause, to the formula; and all of them out of the battery."""

import msgspec
import numpy as np
import pytest
from plant import SPEC

from tierloop.contract.body import Effort
from tierloop.device.config import ComputePower, DeviceConfig
from tierloop.device.energy import BatteryConfig, Energy
from tierloop.device.meter import ENERGY_PARTS, Meter

COMPUTE = ComputePower(idle_w=3.0, busy_w=9.0)
SHIPPED = Energy()
STILL, NONE = np.zeros(2), Effort.none(2)


def steady(torque, velocity, lasts_s: float) -> Effort:
    return Effort.steady(torque, velocity, lasts_s)


def with_(**values: float) -> Energy:
    """The shipped constants with some other values."""
    changed = {
        name: msgspec.structs.replace(getattr(SHIPPED, name), value=value, most=None)
        for name, value in values.items()
    }
    return msgspec.structs.replace(SHIPPED, **changed)


def meter(processor_s: float = 0.0, **values: float) -> Meter:
    return Meter(SPEC, DeviceConfig(compute=COMPUTE, energy=with_(**values)), processor_s)


def test_a_joint_costs_work_copper_and_both_frictions():
    m = meter()
    joules = m.tick(0.5, steady([2.0, 0.0], [1.0, -1.5], 0.5), switch=1.0)
    first = 2.0 * 1.0 + 0.1 * 4.0 + 0.1 * 1.0 + 0.1 * 1.0
    second = 0.1 * 1.5**2 + 0.1 * 1.5
    assert joules == pytest.approx(0.5 * (first + second + 2.0))
    assert m.joules["actuation"] == pytest.approx(joules)
    causes = m.causes
    assert causes["motion"] == pytest.approx(1.0)
    assert causes["copper"] == pytest.approx(0.2)
    assert causes["viscous"] == pytest.approx(0.5 * 0.1 * (1.0 + 1.5**2))
    assert causes["coulomb"] == pytest.approx(0.5 * 0.1 * 2.5)
    assert causes["switch"] == pytest.approx(1.0)


def test_holding_still_against_gravity_costs_copper_alone():
    m = meter()
    assert m.tick(2.0, steady([3.0, 0.0], STILL, 2.0), switch=0.0) == pytest.approx(2.0 * 0.1 * 9.0)


def on_a_bus(share: float, drive_w: float = 0.0, **values: float) -> Meter:
    spec = msgspec.structs.replace(SPEC, bus_share=share, drive_w=drive_w)
    return Meter(spec, DeviceConfig(compute=COMPUTE, energy=with_(**values)))


BRAKED, DRIVEN = 2.0 - 0.4 - 0.1 - 0.1, 1.0 + 0.1 + 0.1 + 0.1
ONE_BRAKES = steady([-2.0, 1.0], [1.0, 1.0], 0.5)
BOTH_BRAKE = steady([-2.0, -2.0], [1.0, 1.0], 0.5)


def parts(causes: dict[str, float]) -> float:
    return sum(causes[c] for c in ("motion", "copper", "viscous", "coulomb", "drive", "switch"))


@pytest.mark.parametrize(("share", "drawn"), [(0.0, DRIVEN), (0.8, DRIVEN - 0.8 * BRAKED)])
def test_what_a_joint_brakes_others_take_as_far_as_it_reaches_the_bus(share, drawn):
    m = on_a_bus(share)
    assert m.tick(0.5, ONE_BRAKES, 0.0) == pytest.approx(0.5 * drawn)
    assert m.causes["shared"] == pytest.approx(0.5 * share * BRAKED)
    assert m.causes["braking"] == 0.0
    assert parts(m.causes) == pytest.approx(m.joules["actuation"])


@pytest.mark.parametrize("regeneration", [0.0, 0.6])
def test_only_what_the_bus_has_too_much_is_burnt_or_comes_back(regeneration):
    m = on_a_bus(0.8, drive_w=0.25, regeneration=regeneration)
    surplus = 2 * 0.8 * BRAKED - 2 * 0.25
    assert m.tick(0.5, BOTH_BRAKE, 0.0) == pytest.approx(-0.5 * regeneration * surplus)
    assert m.causes["braking"] == pytest.approx(0.5 * surplus)
    assert parts(m.causes) == pytest.approx(m.joules["actuation"])


def test_drives_draw_their_constant_power_at_rest_too():
    m = on_a_bus(0.0, drive_w=1.5)
    assert m.tick(0.5, NONE, 0.0) == pytest.approx(0.5 * 2 * 1.5)
    assert m.causes["drive"] == pytest.approx(1.5)


def test_the_radio_costs_idle_frames_bytes_and_one_tail():
    m = meter(radio_idle_w=1.0, radio_tail_w=0.5, radio_tail_s=0.3)
    m.sent(100)
    m.received(1000)
    for _ in range(10):
        m.tick(0.1, NONE, 0.0)
    frames = 420e-6 + 330e-6
    size = 100 * 1.9e-6 + 1000 * 0.42e-6
    assert m.joules["radio"] == pytest.approx(1.0 + frames + size + 0.3 * 0.5)
    causes = m.causes
    assert causes["radio_send_frame"] + causes["radio_receive_frame"] == pytest.approx(frames)
    assert causes["radio_send_byte"] + causes["radio_receive_byte"] == pytest.approx(size)
    assert causes["radio_tail"] == pytest.approx(0.15)
    m.sent(0)
    m.tick(0.2, NONE, 0.0)
    m.sent(0)
    m.tick(0.2, NONE, 0.0)
    assert m.causes["radio_tail"] == pytest.approx(0.15 + 0.2), "a frame begins the tail anew"


def test_a_computer_costs_idle_and_the_busy_time_it_is_told():
    m = meter(processor_s=2.0)
    for _ in range(10):
        m.tick(0.1, NONE, 0.0)
    m.busy_until(2.25)
    assert m.joules["compute"] == pytest.approx(3.0 * 1.0 + 6.0 * 0.25)
    assert m.causes["compute_idle"] == pytest.approx(3.0 * 0.75)
    assert m.causes["compute_busy"] == pytest.approx(9.0 * 0.25)
    for _ in range(10):
        m.tick(0.1, NONE, 0.0)
    assert m.joules["compute"] == pytest.approx(3.0 * 2.0 + 6.0 * 0.5), "drawn as it was before"
    m.busy_until(2.35)
    assert m.joules["compute"] == pytest.approx(3.0 * 2.0 + 6.0 * 0.35), "and made good"
    m.busy_until(99.0)
    assert m.joules["compute"] == pytest.approx(9.0 * 2.0), "no busier than all the time"


def test_all_but_the_joints_go_through_the_regulator():
    m = meter(regulator_efficiency=0.8, radio_idle_w=1.0)
    m.tick(1.0, steady([3.0, 0.0], STILL, 1.0), switch=1.0)
    assert m.joules["conversion"] == pytest.approx((3.0 + 1.0 + 1.0 + 5.0) * 0.25)


def busy_minute(m: Meter, seconds: int = 60) -> None:
    """Ticks of an arm that swings, a radio at 20 Hz, and a computer told once a second."""
    rng = np.random.default_rng(7)
    busy_s = 0.0
    for tick in range(240 * seconds):
        torque, velocity = rng.normal(0, 6, 2), rng.normal(0, 2, 2)
        lasts_s = 1 / 240 + (tick % 500 == 0) * 0.05
        m.tick(lasts_s, steady(torque, velocity, lasts_s), float(tick % 480 < 240))
        if tick % 12 == 0:
            m.sent(160)
            m.received(96)
        if tick % 240 == 239:
            busy_s += rng.uniform(0.0, 0.9)
            m.busy_until(busy_s)


@pytest.mark.parametrize("regeneration", [0.0, 0.7])
@pytest.mark.parametrize(("soc", "parallel"), [(1.0, 2), (0.5, 1), (0.06, 1)])
def test_the_parts_sum_to_what_the_battery_gave(soc, parallel, regeneration):
    config = DeviceConfig(
        compute=COMPUTE, energy=with_(regeneration=regeneration),
        battery=BatteryConfig(series=6, parallel=parallel, soc=soc),
    )  # fmt: skip
    m = Meter(SPEC, config)
    busy_minute(m)
    given_j = m.battery.given_j
    assert tuple(m.joules) == ENERGY_PARTS
    assert given_j > 1000.0
    assert sum(m.joules.values()) - m.battery.unserved_j == pytest.approx(given_j, rel=1e-4)


def test_a_part_that_is_not_drawn_breaks_the_balance():
    m = Meter(SPEC, DeviceConfig(compute=COMPUTE))
    m._steady_w -= 0.05
    busy_minute(m, 10)
    assert abs(sum(m.joules.values()) / m.battery.given_j - 1) > 1e-3


def test_no_time_no_joules():
    m = meter()
    m.sent(10)
    assert m.tick(0.0, steady([3.0, 0.0], STILL, 0.0), 1.0) == 0.0
    assert not any(m.joules.values())
    m.tick(0.1, NONE, 0.0)
    assert m.joules["radio"] > 0.08, "a frame waits for the next tick that lasts"


def test_two_meters_told_the_same_agree_to_the_bit():
    one, other = meter(), meter()
    busy_minute(one, 5)
    busy_minute(other, 5)
    assert (one.joules, one.causes) == (other.joules, other.causes)
    assert (one.battery.soc, one.battery.voltage_v) == (other.battery.soc, other.battery.voltage_v)
