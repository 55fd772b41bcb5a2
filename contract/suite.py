"""Tests that every robot body must pass: subclass BodySuite and define `make`."""

from typing import ClassVar

import numpy as np

from tierloop.contract.body import Body
from tierloop.contract.clock import NS_PER_S


class BodySuite:
    """Tests that every Body must pass. Subclass it as `class TestMine(BodySuite)`."""

    settle_rad: ClassVar[float] = 0.02
    """How close to its setpoint a joint must come."""

    def make(self) -> Body:
        """A fresh body."""
        raise NotImplementedError

    def test_reading_fits_the_spec(self) -> None:
        body = self.make()
        reading = body.read(1_000)
        joints = (len(body.spec.joints),)
        for values in (reading.position_rad, reading.velocity_rad_s, reading.torque_nm):
            assert values.shape == joints
            assert values.dtype == np.float64
            assert np.isfinite(values).all()
        for integral in reading.effort:
            assert len(integral) == joints[0]
            assert np.isfinite(integral).all()
        assert reading.tool_m.shape == (3,)
        assert reading.captured_ns <= 1_000
        body.close()

    def test_the_hold_keeps_it_still(self) -> None:
        body = self.make()
        start = body.read(0).position_rad
        body.write(body.hold())
        for tick in range(1, 121):
            reading = body.read(tick * body.spec.control_period_ns)
        assert np.abs(reading.position_rad - start).max() < self.settle_rad
        assert np.abs(reading.velocity_rad_s).max() < self.settle_rad
        body.close()

    def test_it_goes_where_it_is_told(self) -> None:
        body = self.make()
        body.read(0)
        setpoint = body.hold()
        setpoint[:-1] += 0.1
        body.write(setpoint)
        for tick in range(1, 361):
            reading = body.read(tick * body.spec.control_period_ns)
        assert np.abs(reading.position_rad - setpoint[:-1]).max() < self.settle_rad
        assert np.allclose(body.tool_position(reading.position_rad), reading.tool_m, atol=1e-3)
        body.close()

    def test_time_passes_by_the_clock(self) -> None:
        """Two bodies told the same, one read often and one seldom, end in the same place."""
        often, seldom = self.make(), self.make()
        for body in (often, seldom):
            body.read(0)
            setpoint = body.hold()
            setpoint[:-1] += 0.05
            body.write(setpoint)
        for tick in range(1, 241):
            one = often.read(tick * NS_PER_S // 240)
        other = seldom.read(NS_PER_S)
        assert np.allclose(one.position_rad, other.position_rad, atol=1e-6)
        often.close()
        seldom.close()

    def test_a_setpoint_is_not_kept_by_reference(self) -> None:
        body = self.make()
        body.read(0)
        setpoint = body.hold()
        body.write(setpoint)
        setpoint[:-1] += 1.0
        reading = body.read(NS_PER_S)
        assert np.abs(reading.position_rad - body.hold()[:-1]).max() < self.settle_rad
        assert np.abs(reading.velocity_rad_s).max() < self.settle_rad
        body.close()
