"""The battery against PyBaMM's Thevenin equivalent circuit, over whole discharges."""

import os

import msgspec
import numpy as np
import pytest
from scipy.optimize import curve_fit

from tierloop.device.battery import Battery
from tierloop.device.energy import BatteryConfig, Energy

pytestmark = pytest.mark.untraced  # many samples of few lines, which others trace

CELL = Energy()
ONE = BatteryConfig(series=1, parallel=1, soc=0.999)
"""PyBaMM starts no full cell: its event "maximum state of charge" would be there already."""
STEP_J = 7.5
"""What a constant load draws in a step: at any power a discharge has about nine thousand."""


@pytest.fixture(scope="module")
def pybamm():
    os.environ["PYBAMM_DISABLE_TELEMETRY"] = "true"
    return pytest.importorskip("pybamm")


def reference(pybamm, power_w, until_s: float, every_s: float = 1.0):
    """PyBaMM's answer for one cell of ours from full: time, voltage, state of charge."""
    grid, ocv = np.linspace(0, 1, len(CELL.cell_ocv_v.values)), np.array(CELL.cell_ocv_v.values)
    model = pybamm.equivalent_circuit.Thevenin(
        options={"number of rc elements": 1, "operating mode": "power"}
    )
    values = pybamm.ParameterValues("ECM_Example")
    values.update(
        {
            "Cell capacity [A.h]": CELL.cell_capacity_ah.value,
            "Nominal cell capacity [A.h]": CELL.cell_capacity_ah.value,
            "Initial SoC": ONE.soc,
            "Open-circuit voltage [V]": lambda soc: pybamm.Interpolant(grid, ocv, soc),
            "R0 [Ohm]": CELL.cell_r0_ohm.value,
            "R1 [Ohm]": CELL.cell_r1_ohm.value,
            "C1 [F]": CELL.cell_c1_f.value,
            "Entropic change [V/K]": 0.0,
            "Lower voltage cut-off [V]": CELL.cell_cutoff_v.value,
            "Upper voltage cut-off [V]": 4.3,
        }
    )
    values.update({"Power function [W]": power_w}, check_already_exists=False)
    solver = pybamm.IDAKLUSolver(rtol=1e-8, atol=1e-8)
    simulation = pybamm.Simulation(model, parameter_values=values, solver=solver)
    solution = simulation.solve(np.arange(0.0, until_s, every_s))
    return solution["Time [s]"].entries, solution["Voltage [V]"].entries, solution["SoC"].entries


def ours(power_w, times: np.ndarray, step_s: float = 1.0):
    """Ours at the same instants, to a step."""
    battery = Battery(CELL, ONE)
    voltages, socs = [], []
    at_s = 0.0
    for time_s in times:
        while at_s < time_s - 1e-9:
            battery.draw(power_w(at_s + step_s / 2), step_s)
            at_s += step_s
        voltages.append(battery.voltage_v)
        socs.append(battery.soc)
    return np.array(voltages), np.array(socs), battery


@pytest.mark.parametrize("power_w", [2.0, 9.0, 30.0])
def test_a_full_discharge_at_constant_power(pybamm, power_w):
    step_s = STEP_J / power_w
    times, voltage, soc = reference(pybamm, power_w, 19.0 * 3600 / power_w * 1.2, step_s)
    mine, charge, battery = ours(lambda _: power_w, times, step_s)
    assert soc[-1] < 0.1 if power_w < 20 else soc[-1] < 0.35, "the whole of it"
    assert voltage[-1] == pytest.approx(3.0, abs=0.02), "PyBaMM ended at the cut-off"
    off = np.abs(mine[1:] / voltage[1:] - 1).max()
    print(f"{power_w} W against the same circuit: {off:.3%} at most")
    assert off < 0.001
    assert np.abs(charge - soc).max() < 1e-3
    for _ in range(8):
        battery.draw(power_w, 0.25)
    assert battery.cut_out, "and so does ours, within two seconds"


def test_a_full_discharge_under_a_load_that_comes_and_goes(pybamm):
    """Two minutes' swing between nothing and twice the mean: the RC pair never settles."""
    mean_w, period_s = 10.0, 120.0

    def power(time_s):
        return mean_w * (1 + np.sin(2 * np.pi * time_s / period_s))

    def symbolic(time_s):
        return mean_w * (1 + pybamm.sin(2 * np.pi * time_s / period_s))

    times, voltage, soc = reference(pybamm, symbolic, 7200.0)
    mine, charge, _ = ours(power, times, 0.25)
    assert soc[-1] < 0.15
    assert np.abs(mine[1:] / voltage[1:] - 1).max() < 0.001
    assert np.abs(charge - soc).max() < 1e-3


def test_the_comparison_would_see_a_wrong_resistance(pybamm):
    times, voltage, _ = reference(pybamm, 9.0, 3600.0)
    wrong = msgspec.structs.replace(CELL.cell_r1_ohm, value=3 * CELL.cell_r1_ohm.value)
    battery = Battery(msgspec.structs.replace(CELL, cell_r1_ohm=wrong), ONE)
    for _ in times[1:]:
        battery.draw(9.0, 1.0)
    assert abs(battery.voltage_v / voltage[-1] - 1) > 0.01


@pytest.fixture(scope="module")
def chen(pybamm):
    return pybamm.ParameterValues("Chen2020")


def test_the_cells_curve_and_capacity_are_those_of_the_parameter_set(pybamm, chen):
    states = pybamm.lithium_ion.ElectrodeSOHSolver(chen)
    grid = np.linspace(0, 1, len(CELL.cell_ocv_v.values))
    ocv = [abs(np.subtract(*states.get_initial_ocps(float(soc)))) for soc in grid]
    assert np.array(CELL.cell_ocv_v.values) == pytest.approx(np.ravel(ocv), abs=2e-4)
    full, empty = (states.get_initial_stoichiometries(soc)[0] for soc in (1.0, 0.0))
    negative_ah = float(chen.evaluate(pybamm.LithiumIonParameters().n.prim.Q_init))
    assert CELL.cell_capacity_ah.value == pytest.approx(negative_ah * (full - empty), rel=1e-3)


def test_its_resistances_are_a_fit_to_a_pulse_of_the_full_model(pybamm, chen):
    pulse = pybamm.Experiment(["Discharge at 5 A for 60 seconds"], period="0.5 seconds")
    model = pybamm.lithium_ion.DFN()
    simulation = pybamm.Simulation(model, parameter_values=chen, experiment=pulse)
    found = simulation.solve(initial_soc=0.5)
    time_s, voltage = found["Time [s]"].entries, found["Terminal voltage [V]"].entries
    drop = (found["Battery open-circuit voltage [V]"].entries - voltage) / 5.0
    (r0, r1, tau_s), _ = curve_fit(
        lambda t, r0, r1, tau_s: r0 + r1 * (1 - np.exp(-t / tau_s)), time_s, drop,
        p0=(0.02, 0.01, 15.0),
    )  # fmt: skip
    assert CELL.cell_r0_ohm.value == pytest.approx(r0, rel=0.01)
    assert CELL.cell_r1_ohm.value == pytest.approx(r1, rel=0.01)
    assert CELL.cell_c1_f.value == pytest.approx(tau_s / r1, rel=0.01)


@pytest.mark.parametrize(("power_w", "rms", "longer"), [(3.6, 0.01, 0.015), (18.0, 0.025, 0.06)])
def test_how_far_a_circuit_is_from_the_full_model(pybamm, chen, power_w, rms, longer):
    """The figures of docs/energy.md: at a fifth of the capacity an hour, and at all of it."""
    load = pybamm.Experiment([f"Discharge at {power_w} W until 3.0 V"], period="5 seconds")
    model = pybamm.lithium_ion.DFN()
    simulation = pybamm.Simulation(model, parameter_values=chen, experiment=load)
    found = simulation.solve(initial_soc=ONE.soc)
    time_s, voltage = found["Time [s]"].entries, found["Terminal voltage [V]"].entries
    mine, _, battery = ours(lambda _: power_w, time_s)
    error = mine[1:] / voltage[1:] - 1
    off = np.sqrt((error**2).mean())
    assert off < rms
    spent_s = time_s[-1]
    while not battery.cut_out:
        battery.draw(power_w, 0.5)
        spent_s += 0.5
    life = spent_s / time_s[-1] - 1
    print(f"{power_w} W: {off:.2%} rms, {np.abs(error).max():.1%} at worst, {life:.2%} longer")
    assert 0.0 < life < longer
