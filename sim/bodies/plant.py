"""The analytic plant: a two-joint body as light as can be.

Each joint does what its drive's law says (sim/drives.py), exactly for any step, so that no physics
library is needed and a run of hours takes seconds. Its torque is 1 Nm for each radian that it is
behind its setpoint's ramp, against a damping as large as the bandwidth asks for.
"""

from math import pi

import numpy as np

from tierloop.contract.body import Reading
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.specs import BodySpec, Vector
from tierloop.sim.drives import Drives, Dynamics
from tierloop.sim.exertion import Exertion
from tierloop.sim.reality import NOMINAL, Reality

ANALYTIC = True
JOINTS = ("a", "b")
HOME_RAD = (0.0, 0.0)
TIME_CONSTANT_S = 0.02
"""How long a joint takes for 63 % of the way."""
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


def dynamics() -> Dynamics:
    """Bandwidth and lag of the drives."""
    return Dynamics(1.0 / (2 * pi * TIME_CONSTANT_S), 0.0)


def body(spec: BodySpec, posture_rad: Vector, reality: Reality) -> "Plant":
    """The plant at rest in a posture float64[2]."""
    return Plant(spec, posture_rad, reality)


class Plant:
    """Implements the contract `Body`; time is that of `Cell`: the first read is zero."""

    def __init__(self, spec: BodySpec, posture_rad: Vector, reality: Reality = NOMINAL) -> None:
        """At rest in a posture float64[2]."""
        self.spec = spec
        real = reality.of(dynamics())
        # Torque is damping times velocity, and the damping that of the bandwidth.
        self._damping_nms = 1.0 / (2 * pi * real.bandwidth_hz)
        fastest = [t * reality.drive_strength / self._damping_nms for t in spec.torque_nm]
        self._drives = Drives(real, fastest, spec.control_period_ns, spec.physics_period_ns)
        self._position = posture_rad.tolist()
        self._drives.place(self._position)
        self._velocity, self._torque_nm, self._switch = [0.0, 0.0], [0.0, 0.0], 0.0
        self._exertion = Exertion(len(self._position), spec.physics_period_ns / NS_PER_S)
        self._zero_ns: int | None = None
        self._steps = 0

    def tool_position(self, position_rad: Vector) -> Vector:
        return np.array([*position_rad.tolist(), 0.0])

    def read(self, now_ns: int) -> Reading:
        captured_ns = self._advance(now_ns)
        return Reading(
            captured_ns=captured_ns,
            position_rad=np.array(self._position),
            velocity_rad_s=np.array(self._velocity),
            torque_nm=np.array(self._torque_nm),
            tool_m=np.array([*self._position, 0.0]),
            switch=self._switch,
            holding=False,
            scans=(),
            outcomes=(),
            effort=self._exertion.take(),
        )

    def write(self, setpoint: Vector) -> None:
        *joints, self._switch = setpoint.tolist()
        self._drives.write(joints)

    def hold(self) -> Vector:
        return np.array([*self._position, self._switch])

    def close(self) -> None:
        self._drives.write(self._position)

    def _advance(self, now_ns: int) -> int:
        """Moves on to the last physics step at or before `now_ns`; returns its instant."""
        if self._zero_ns is None:
            self._zero_ns = now_ns
        step_ns = self.spec.physics_period_ns
        due, step_s = (now_ns - self._zero_ns) // step_ns, step_ns / NS_PER_S
        position, torque, damping = self._position, self._torque_nm, self._damping_nms
        while self._steps < due:
            self._steps += 1
            self._velocity = velocity = self._drives.step(position)
            for joint, v in enumerate(velocity):
                position[joint] += v * step_s
                torque[joint] = v * damping
            self._exertion.add(torque, velocity, velocity)
            if due - self._steps > 1 and not any(velocity) and self._drives.settled:
                self._steps = due  # after a leap of the clock: from here on nothing moves
        return self._zero_ns + self._steps * step_ns
