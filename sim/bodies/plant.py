"""The analytic plant: a two-joint body as light as can be.

Each joint follows its setpoint with a first-order lag, exactly for any step, so that no physics
library is needed and a run of hours takes seconds.
"""

from math import exp

import numpy as np

from tierloop.contract.body import Reading
from tierloop.contract.specs import BodySpec, Vector

ANALYTIC = True
JOINTS = ("a", "b")
HOME_RAD = (0.0, 0.0)
TIME_CONSTANT_S = 0.02
WORK_LOW_RAD, WORK_HIGH_RAD = (-1.5, -1.5), (1.5, 1.5)
"""The postures a policy may ask for."""


def body_spec(control_period_ns: int, physics_period_ns: int) -> BodySpec:
    """Limits and power model, all assumed. The tool is where the joints are: (a, b, 0) metres."""
    return BodySpec(
        name="plant",
        joints=JOINTS,
        control_period_ns=control_period_ns,
        physics_period_ns=physics_period_ns,
        position_low_rad=(-2.0, -2.0),
        position_high_rad=(2.0, 2.0),
        velocity_rad_s=(3.0, 3.0),
        acceleration_rad_s2=(20.0, 20.0),
        torque_nm=(10.0, 10.0),
        workspace_low_m=(-1.8, -1.8, -1.0),
        workspace_high_m=(1.8, 1.8, 1.0),
        copper_w_per_nm2=(0.1, 0.1),
        viscous_w_s2=(0.1, 0.1),
        coulomb_w_s=(0.1, 0.1),
        switch_w=2.0,
        sensors_w=1.0,
    )


def body(spec: BodySpec, posture_rad: Vector) -> "Plant":
    """The plant at rest in a posture float64[2]."""
    return Plant(spec, posture_rad)


class Plant:
    """Implements the contract `Body`; time is that of `Cell`: the first read is zero."""

    def __init__(self, spec: BodySpec, posture_rad: Vector) -> None:
        """At rest in a posture float64[2]."""
        self.spec = spec
        self._velocity = self._torque_nm = [0.0, 0.0]
        self._position = posture_rad.tolist()
        self._setpoint = [*self._position, 0.0]
        self._zero_ns: int | None = None
        self._at_ns = 0

    def tool_position(self, position_rad: Vector) -> Vector:
        return np.array([*position_rad.tolist(), 0.0])

    def read(self, now_ns: int) -> Reading:
        return Reading(
            captured_ns=self._advance(now_ns),
            position_rad=np.array(self._position),
            velocity_rad_s=np.array(self._velocity),
            torque_nm=np.array(self._torque_nm),
            tool_m=np.array([*self._position, 0.0]),
            switch=self._setpoint[-1],
            holding=False,
            scans=(),
            outcomes=(),
        )

    def write(self, setpoint: Vector) -> None:
        self._setpoint = setpoint.tolist()

    def hold(self) -> Vector:
        return np.array([*self._position, self._setpoint[-1]])

    def close(self) -> None:
        self._setpoint = [*self._position, self._setpoint[-1]]

    def _advance(self, now_ns: int) -> int:
        """Moves on to the last physics step at or before `now_ns`; returns its instant."""
        if self._zero_ns is None:
            self._zero_ns = self._at_ns = now_ns
        step_ns = self.spec.physics_period_ns
        at_ns = self._zero_ns + (now_ns - self._zero_ns) // step_ns * step_ns
        left = exp((self._at_ns - at_ns) / 1e9 / TIME_CONSTANT_S)
        (a, b), (to_a, to_b, _) = self._position, self._setpoint
        gap_a, gap_b = (a - to_a) * left, (b - to_b) * left
        self._position = [to_a + gap_a, to_b + gap_b]
        self._velocity = [-gap_a / TIME_CONSTANT_S, -gap_b / TIME_CONSTANT_S]
        self._torque_nm = [-gap_a, -gap_b]
        self._at_ns = at_ns
        return at_ns
