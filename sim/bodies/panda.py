"""The Franka Panda with a suction cup at its hand: limits, kinematics, drives."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from math import cos, hypot, sin
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tierloop.contract.constants import Constant, constants
from tierloop.contract.specs import BodySpec, PowerUncertainty, Vector
from tierloop.sim.drives import Drives, Dynamics
from tierloop.sim.reality import NOMINAL, Reality

if TYPE_CHECKING:
    from tierloop.sim.world import JointStates, World

ANALYTIC = False
JOINTS = tuple(f"joint_{i}" for i in range(1, 8))
HOME_RAD = (0.0, -0.2, 0.0, -2.35, 0.0, 2.15, 0.785)
"""Ready: the tool points down between belt and bins."""
WORK_LOW_RAD = (-0.6, -0.5, -0.5, -2.85, -0.4, 1.7, 0.2)
WORK_HIGH_RAD = (0.6, 0.55, 0.5, -1.6, 0.4, 2.75, 1.4)
"""The postures a policy may ask for: what the cell needs, with room to spare."""

CUP_M = 0.107 + 0.120
"""From the seventh joint along its axis to the lip of the cup: the flange (Franka's a8), then the
hand; the lip is 4 mm beyond the tips of the closed fingers."""

_SHOULDER_M, _UPPER_ARM_M, _ELBOW_X_M, _FOREARM_M, _HAND_X_M = 0.333, 0.316, 0.0825, 0.384, 0.088
_OFFSETS_M = (
    (0.0, 0.0, _SHOULDER_M),
    (0.0, 0.0, 0.0),
    (0.0, -_UPPER_ARM_M, 0.0),
    (_ELBOW_X_M, 0.0, 0.0),
    (-_ELBOW_X_M, _FOREARM_M, 0.0),
    (0.0, 0.0, 0.0),
    (_HAND_X_M, 0.0, 0.0),
)
_TURNS = (0, -1, 1, 1, -1, 1, 1)
"""Before each joint: a quarter turn about x, so many times (panda.urdf in pybullet_data)."""

_LOW_RAD = (-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973)
_HIGH_RAD = (2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973)
_SPEED_RAD_S = (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61)
_TORQUE_NM = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)

_STARTS_LOW_M, _STARTS_HIGH_M = (0.36, -0.28, 0.17), (0.70, 0.28, 0.34)
"""Where the tool may be when an episode starts: over the belt, the bins or in between."""
_SPREAD_RAD = (0.5, 0.4, 0.3, 0.4, 0.2, 0.3, 0.3)


def body_spec(control_period_ns: int, physics_period_ns: int) -> BodySpec:
    """The Panda's limits and power model.

    Position, velocity, acceleration and torque limits are the vendor's: Franka Control Interface
    documentation, "Robot and interface specifications", Panda. The workspace is all
    that the arm can reach above the floor. The power constants are those of panda.toml, where
    each has its source: copper is R / Kt^2, friction a share of the speed limit.
    """
    power = _power()
    large, small = (
        power[f"{size}_resistance_ohm"].value / power[f"{size}_torque_constant_nm_per_a"].value ** 2
        for size in ("large", "small")
    )
    viscous_w, coulomb_w = power["viscous_w"].value, power["coulomb_w"].value
    return BodySpec(
        name="panda",
        joints=JOINTS,
        control_period_ns=control_period_ns,
        physics_period_ns=physics_period_ns,
        position_low_rad=_LOW_RAD,
        position_high_rad=_HIGH_RAD,
        velocity_rad_s=_SPEED_RAD_S,
        acceleration_rad_s2=(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
        torque_nm=_TORQUE_NM,
        workspace_low_m=(-0.9, -0.9, -0.15),
        workspace_high_m=(0.9, 0.9, 1.2),
        copper_w_per_nm2=(large,) * 4 + (small,) * 3,
        viscous_w_s2=tuple(viscous_w / v**2 for v in _SPEED_RAD_S),
        coulomb_w_s=tuple(coulomb_w / v for v in _SPEED_RAD_S),
        drive_w=power["drive_w"].value,
        bus_share=power["bus_share"].value,
        switch_w=power["switch_w"].value,
        sensors_w=power["sensors_w"].value,
        power_uncertainty=PowerUncertainty(
            copper=hypot(
                power["large_resistance_ohm"].uncertainty,
                2 * power["large_torque_constant_nm_per_a"].uncertainty,
            ),
            viscous=power["viscous_w"].uncertainty,
            coulomb=power["coulomb_w"].uncertainty,
            drive=power["drive_w"].uncertainty,
            bus=power["bus_share"].uncertainty,
            switch=power["switch_w"].uncertainty,
            sensors=power["sensors_w"].uncertainty,
        ),
    )


def dynamics() -> Dynamics:
    """Bandwidth and lag of the drives, those of panda.toml."""
    power = _power()
    return Dynamics(power["drive_bandwidth_hz"].value, power["drive_lag_ms"].value)


@cache
def _power() -> dict[str, Constant]:
    text = files("tierloop.sim.bodies").joinpath("panda.toml").read_text("utf-8")
    return {
        name: constant
        for name, constant in constants(text, "sim/bodies/panda.toml").items()
        if isinstance(constant, Constant)
    }


def tool_position(position_rad: Vector) -> Vector:
    """Joint positions float64[7] to the lip of the cup, float64[3], base frame.

    From the cup inwards, joint by joint, in scalars and written out, since it is called in every
    tick: half of what a loop takes. The seventh joint turns about the cup's own axis.
    """
    q1, q2, q3, q4, q5, q6, _ = position_rad.tolist()
    c, s = cos(q6), sin(q6)
    x, y, z = c * _HAND_X_M + s * CUP_M, 0.0, s * _HAND_X_M - c * CUP_M
    c, s = cos(q5), sin(q5)
    x, y, z = c * x - s * y - _ELBOW_X_M, z + _FOREARM_M, -(s * x + c * y)
    c, s = cos(q4), sin(q4)
    x, y, z = c * x - s * y + _ELBOW_X_M, -z, s * x + c * y
    c, s = cos(q3), sin(q3)
    x, y, z = c * x - s * y, -z - _UPPER_ARM_M, s * x + c * y
    c, s = cos(q2), sin(q2)
    x, y, z = c * x - s * y, z, -(s * x + c * y)
    c, s = cos(q1), sin(q1)
    return np.array((c * x - s * y, s * x + c * y, z + _SHOULDER_M))


class Postures(NamedTuple):
    """Where N arms are: `tool_m` and `axis` (where the cup points) float64[3, N].

    `jacobian` float64[N, 5, 7]: the tool's velocity in x, y, z, then the turn about x and y. The
    turn about z is left out: a round cup does not care.
    """

    tool_m: Vector
    axis: Vector
    jacobian: Vector


def postures(position_rad: Vector) -> Postures:
    """Forward kinematics and Jacobian of float64[7, N] joint positions."""
    n = position_rad.shape[1]
    x = np.repeat(np.eye(3)[:, :1], n, axis=1)
    y = np.repeat(np.eye(3)[:, 1:2], n, axis=1)
    z = np.repeat(np.eye(3)[:, 2:], n, axis=1)
    at = np.zeros((3, n))
    origins, axes = [], []
    for angle, turn, (dx, dy, dz) in zip(position_rad, _TURNS, _OFFSETS_M, strict=True):
        at = at + dx * x + dy * y + dz * z
        if turn:
            y, z = turn * z, -turn * y
        c, s = np.cos(angle), np.sin(angle)
        x, y = c * x + s * y, c * y - s * x
        origins.append(at)
        axes.append(z)
    tool = at + CUP_M * z
    jacobian = np.empty((n, 5, 7))
    ax, ay, az = np.array(axes).transpose(1, 2, 0)
    rx, ry, rz = (tool - np.array(origins)).transpose(1, 2, 0)
    jacobian[:, 0] = ay * rz - az * ry  # np.cross, joint by joint, takes longer than all the rest
    jacobian[:, 1] = az * rx - ax * rz
    jacobian[:, 2] = ax * ry - ay * rx
    jacobian[:, 3] = ax
    jacobian[:, 4] = ay
    return Postures(tool, z, jacobian)


def start(rng: np.random.Generator) -> Vector:
    """A posture to start an episode from, float64[joints], with the tool in the working space."""
    while True:
        posture = np.array(HOME_RAD) + rng.uniform(-1.0, 1.0, 7) * _SPREAD_RAD
        tool = postures(posture[:, np.newaxis]).tool_m[:, 0]
        if (tool > _STARTS_LOW_M).all() and (tool < _STARTS_HIGH_M).all():
            return posture


def arm(world: "World", spec: BodySpec, reality: Reality) -> "Panda":
    """The arm in a world; `spec` says the periods of control and physics."""
    return Panda(world, spec, reality)


class Panda:
    """The arm in a world, fixed at its origin; the fingers stay closed."""

    name = "panda"
    hand = 8
    """The link that carries the cup."""

    _ARM = tuple(range(7))
    _FINGERS = (9, 10)

    def __init__(self, world: "World", spec: BodySpec, reality: Reality = NOMINAL) -> None:
        self._world = world
        self._torque_nm = [most * reality.drive_strength for most in _TORQUE_NM]
        self._drives = Drives(
            reality.of(dynamics()), _SPEED_RAD_S, spec.control_period_ns, spec.physics_period_ns
        )
        world.load(self.name, "franka_panda/panda.urdf")
        world.place_joints(self.name, self._FINGERS, (0.0, 0.0))
        world.hold_joints(self.name, self._FINGERS, (0.0, 0.0), (20.0, 20.0))

    def place(self, position_rad: Vector) -> None:
        """Puts the arm in a posture, at rest and driven to stay there."""
        posture = position_rad.tolist()
        self._world.place_joints(self.name, self._ARM, posture)
        self._drives.place(posture)
        self._world.turn_joints(self.name, self._ARM, (0.0,) * 7, self._torque_nm)

    def drive(self, position_rad: Vector) -> None:
        """Drives the joints to float64[7] from now on."""
        self._drives.write(position_rad.tolist())

    def before_step(self, position_rad: Sequence[float]) -> None:
        """Call before each step of physics; where the seven joints are, rad."""
        velocity = self._drives.step(position_rad)
        self._world.turn_joints(self.name, self._ARM, velocity, self._torque_nm)

    def sense(self) -> "JointStates":
        """What the joints measure now."""
        return self._world.joints(self.name, self._ARM)
