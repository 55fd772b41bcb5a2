"""The battery's own arithmetic, against a general solver and against conservation."""

import msgspec
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tierloop.device.battery import Battery
from tierloop.device.energy import BatteryConfig, Energy

CELL = Energy()
PACK = BatteryConfig(series=13, parallel=2)


def drain(battery: Battery, power_w: float, step_s: float = 1.0, at_most_s: float = 1e5) -> float:
    """Holds a power until it cuts out; how long that took."""
    spent_s = 0.0
    while not battery.cut_out and spent_s < at_most_s:
        battery.draw(power_w, step_s)
        spent_s += step_s
    return spent_s


def test_at_rest_it_stands_at_its_open_circuit_voltage():
    battery = Battery(CELL, msgspec.structs.replace(PACK, soc=0.5))
    assert battery.voltage_v == pytest.approx(13 * 3.7509)
    battery.draw(0.0, 3600.0)
    assert battery.voltage_v == pytest.approx(13 * 3.7509)
    assert battery.given_j == 0.0


def test_the_curve_is_straight_between_its_points_and_flat_beyond():
    battery = Battery(CELL, PACK)
    grid = np.linspace(0, 1, 21)
    for soc in (-0.5, 0.0, 0.013, 0.05, 0.33, 0.975, 1.0, 1.2):
        expected = 13 * np.interp(soc, grid, CELL.cell_ocv_v.values)
        assert battery.open_v(soc) == pytest.approx(expected, rel=1e-12)


def test_it_sags_at_once_and_then_slowly_and_comes_back():
    battery = Battery(CELL, msgspec.structs.replace(PACK, soc=0.5))
    r0, r1 = 13 / 2 * 0.0237, 13 / 2 * 0.0141
    battery.draw(400.0, 1e-6)
    rest_v = 13 * 3.7509
    current = 400.0 / battery.voltage_v
    assert rest_v - battery.voltage_v == pytest.approx(r0 * current, rel=1e-5)
    for _ in range(200 * 240):
        battery.draw(400.0, 1 / 240)
    current = 400.0 / battery.voltage_v
    sag = battery.open_v(battery.soc) - battery.voltage_v
    assert sag == pytest.approx((r0 + r1) * current, rel=3e-3)
    lowest = battery.lowest_v
    assert lowest == battery.voltage_v
    battery.draw(0.0, 1e-6)
    assert battery.open_v(battery.soc) - battery.voltage_v == pytest.approx(r1 * current, rel=5e-3)
    for _ in range(300):
        battery.draw(0.0, 1.0)
    assert battery.voltage_v == pytest.approx(battery.open_v(battery.soc), rel=1e-5)
    assert battery.lowest_v == lowest


def test_the_rc_pair_is_exact_whatever_the_step():
    """Under a constant current there is a closed form; one step must be as good as many."""
    ends = []
    for steps in (1, 7, 5000):
        battery = Battery(CELL, msgspec.structs.replace(PACK, soc=0.52))
        battery._slopes = [0.0] * 20
        battery._curve = [48.0] * 21
        battery._emf_v = 48.0
        battery._r0 = 0.0
        for _ in range(steps):
            emf_v = battery._emf_v
            battery.draw(5.0 * emf_v, 30.0 / steps)
        ends.append(battery._rc_v)
    closed = 5.0 * 13 / 2 * 0.0141 * (1 - np.exp(-30.0 / (0.0141 * 1964)))
    assert ends == pytest.approx([closed] * 3, rel=1e-9)


@pytest.mark.parametrize("power_w", [60.0, 250.0, 900.0])
def test_a_discharge_agrees_with_a_general_solver(power_w):
    battery = Battery(CELL, PACK)
    charge_c = 5.15 * 3600 * 2
    r0, r1, tau = 13 / 2 * 0.0237, 13 / 2 * 0.0141, 0.0141 * 1964
    grid, curve = np.linspace(0, 1, 21), 13 * np.array(CELL.cell_ocv_v.values)

    def current(state: np.ndarray) -> float:
        emf = np.interp(state[0], grid, curve) - state[1]
        return (emf - np.sqrt(emf**2 - 4 * r0 * power_w)) / (2 * r0)

    def slope(_: float, state: np.ndarray) -> list[float]:
        return [-current(state) / charge_c, (r1 * current(state) - state[1]) / tau]

    spent_s = drain(battery, power_w, 0.25)
    solved = solve_ivp(slope, (0, spent_s), [1.0, 0.0], max_step=spent_s / 400, rtol=1e-8)
    end = solved.y[:, -1]
    voltage = power_w / current(end)
    assert battery.soc == pytest.approx(end[0], abs=1e-4)
    assert battery.voltage_v == pytest.approx(voltage, rel=1e-3)


@pytest.mark.parametrize("power_w", [30.0, 500.0, 2500.0])
def test_a_whole_discharge_conserves_energy(power_w):
    battery = Battery(CELL, PACK)
    spent_s = drain(battery, power_w, 30.0 / power_w)
    total_j = power_w * spent_s + battery.internal_j - battery.unserved_j
    assert total_j == pytest.approx(battery.given_j, rel=2e-4)
    assert battery.given_j + battery.stored_j == pytest.approx(battery._from_j)


def test_more_power_takes_less_out():
    taken = [drain(Battery(CELL, PACK), p) * p for p in (50.0, 300.0, 1200.0)]
    assert taken[0] > taken[1] > taken[2]


def test_it_cuts_out_at_its_voltage_under_load_and_stays_so():
    battery = Battery(CELL, PACK)
    drain(battery, 300.0)
    assert battery.cut_out
    assert battery.voltage_v < 13 * 3.0
    assert battery.lowest_v == pytest.approx(13 * 3.0, rel=2e-3)
    for _ in range(600):
        battery.draw(0.0, 1.0)
    assert battery.voltage_v > 13 * 3.0, "it has come back"
    assert battery.cut_out


def test_what_a_pack_cannot_give_is_said_and_still_balances():
    battery = Battery(CELL, msgspec.structs.replace(PACK, soc=0.3))
    asked_w = 50_000.0
    battery.draw(asked_w, 0.5)
    assert battery.cut_out
    most_w = battery.open_v(0.3) ** 2 / (4 * 13 / 2 * 0.0237)
    assert battery.unserved_j == pytest.approx(0.5 * (asked_w - most_w), rel=1e-3)
    total = 0.5 * asked_w - battery.unserved_j + battery.internal_j
    assert total == pytest.approx(battery.given_j, rel=0.02)


def test_an_empty_pack_gives_nothing():
    battery = Battery(CELL, msgspec.structs.replace(PACK, soc=0.001))
    for _ in range(2000):
        battery.draw(200.0, 1.0)
    assert battery.cut_out
    assert -0.001 < battery.soc <= 0.0
    assert battery.unserved_j > 0.9 * 2000 * 200.0


def test_it_can_be_charged():
    battery = Battery(CELL, msgspec.structs.replace(PACK, soc=0.5))
    for _ in range(600):
        battery.draw(-200.0, 0.1)
    assert battery.soc > 0.5
    assert battery.voltage_v > battery.open_v(battery.soc)
    assert battery.given_j == pytest.approx(-200.0 * 60.0 + battery.internal_j, rel=1e-4)


def test_energy_known_late_is_taken_at_todays_voltage():
    battery = Battery(CELL, msgspec.structs.replace(PACK, soc=0.5))
    battery.draw(300.0, 5.0)
    before = battery.given_j, battery.internal_j
    battery.settle(1000.0)
    given_j, internal_j = battery.given_j - before[0], battery.internal_j - before[1]
    assert given_j == pytest.approx(1000.0 + internal_j, rel=1e-4)
    assert internal_j > 0.0
    sagged = battery.open_v(battery.soc) - battery._rc_v
    battery.draw(0.0, 1e-9)
    assert battery._emf_v == pytest.approx(sagged)
    battery.settle(50_000.0)
    assert battery._emf_v == pytest.approx(battery.open_v(battery.soc) - battery._rc_v, abs=1e-12)
