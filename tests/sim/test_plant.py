import numpy as np
import pytest
from plant import SPEC

from tierloop.contract.suite import BodySuite
from tierloop.sim.bodies.plant import HOME_RAD, Plant


def at_home() -> Plant:
    return Plant(SPEC, np.array(HOME_RAD))


class TestPlant(BodySuite):
    def make(self) -> Plant:
        return at_home()


def test_it_moves_by_the_clock_however_seldom_it_is_read():
    often, seldom = at_home(), at_home()
    for plant in (often, seldom):
        plant.read(0)
        plant.write(np.array([1.0, -1.0, 0.0]))
    for ms in range(1, 50):
        often.read(ms * 1_000_000)
    assert often.read(60_000_000).position_rad == pytest.approx(
        seldom.read(60_000_000).position_rad, rel=1e-9
    )


def test_it_knows_no_task():
    plant = at_home()
    readings = [plant.read(tick * SPEC.control_period_ns) for tick in range(2400)]
    assert not any(reading.scans or reading.outcomes for reading in readings)
