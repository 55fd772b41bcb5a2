"""A roofline is recovered from times that one made, and says how far off it is."""

import numpy as np
import pytest

from tierloop.calibrate.networks import BATCHES, HELD_OUT, NETWORKS, name_of
from tierloop.calibrate.roofline import FitPoint, fit
from tierloop.contract.errors import UserError
from tierloop.policy.work import work
from tierloop.sim.scenario import Scenario, policy_spec

SPEC = policy_spec(Scenario())
OWN = work(SPEC, (256, 256))
HELD = name_of(HELD_OUT)


def made(noise: float = 0.0, held_out_times: float = 1.0) -> list[FitPoint]:
    """Of a machine with 6 us a call, 0.15 us a row, 80 Gop/s and 20 GB/s."""
    rng = np.random.default_rng(3)
    points = []
    for hidden in (*NETWORKS, HELD_OUT):
        asked = work(SPEC, hidden)
        for rows in BATCHES:
            us = 6.0 + 0.15 * rows
            us += max(asked.ops * rows / 80e3, asked.weight_bytes / 20e3)
            us *= np.exp(noise * rng.standard_normal())
            times = held_out_times if hidden == HELD_OUT else 1.0
            points.append(FitPoint(name_of(hidden), asked, rows, float(us * times)))
    return points


def test_a_planted_roofline_is_recovered():
    found = fit(made(), OWN, HELD, "onnx", "a machine")
    assert found.call_us == pytest.approx(6.0, rel=0.05)
    assert found.row_us == pytest.approx(0.15, rel=0.1)
    assert found.gops_s == pytest.approx(80.0, rel=0.03)
    assert found.gb_s == pytest.approx(20.0, rel=0.08)
    assert found.error_worst < 0.03
    assert found.error_held_out < 0.03


def test_noise_shows_in_the_errors_and_the_truth_lies_within_them():
    found = fit(made(noise=0.08), OWN, HELD, "onnx", "a machine")
    assert 0.02 < found.error_median < 0.1
    assert found.error_median < found.error_worst < 0.35
    for truth in made():
        assert found.us(truth.work, truth.rows) == pytest.approx(truth.us, rel=found.error_worst)


def test_the_network_that_is_held_out_judges_and_is_not_fitted_on():
    plain, odd = (fit(made(held_out_times=t), OWN, HELD, "onnx", "x") for t in (1.0, 2.0))
    assert odd.error_held_out == pytest.approx(0.5, abs=0.03)
    assert odd.error_worst == plain.error_worst
    assert HELD not in plain.networks


def test_it_says_what_it_was_fitted_on():
    found = fit(made(), OWN, HELD, "numpy", "a machine")
    assert found.networks == tuple(map(name_of, NETWORKS))
    assert found.ops_range == (work(SPEC, (16,)).ops, work(SPEC, (1024, 1024)).ops)
    assert found.rows_range == (1, 64)
    assert (found.engine, found.host, found.held_out) == ("numpy", "a machine", HELD)
    assert (found.ops, found.weight_bytes) == OWN


def test_times_that_do_not_grow_with_the_network_are_refused():
    points = [point._replace(us=10.0 - 1e-6 * point.work.ops) for point in made()]
    with pytest.raises(UserError, match="do not grow with the network"):
        fit(points, OWN, HELD, "onnx", "a machine")
