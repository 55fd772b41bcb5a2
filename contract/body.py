"""The interfaces of a robot body and of its perceive stage, as the device tier uses them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from tierloop.contract.specs import BodySpec, FloatArray, PolicySpec, Vector

ToolPosition = Callable[[Vector], Vector]

SWITCH_ON = 0.5
"""A tool works while its switch is told more than this."""


class Scan(NamedTuple):
    """What a scanning station saw of one part, in the cell's frame (metres)."""

    captured_ns: int
    part: int
    position_m: tuple[float, float, float]
    kind: int
    height_m: float


class Episode(NamedTuple):
    """One task attempt as the world judged it."""

    number: int
    success: bool
    reason: str
    started_ns: int
    ended_ns: int


PerJoint = Sequence[float]


class Effort(NamedTuple):
    """What the joints did between two readings: integrals over time, one number a joint each.

    A body sums them as finely as it can: a simulated one at every step of physics. They are no
    arrays, since so few numbers are summed faster one by one, in every tick.
    """

    work_j: PerJoint
    """Of torque times velocity, J; negative while the joint brakes."""
    torque2_nm2_s: PerJoint
    """Of the torque's square, (Nm)^2 s."""
    speed2_rad2_s: PerJoint
    """Of the velocity's square, rad^2/s."""
    travel_rad: PerJoint
    """Of the velocity's amount, rad."""

    @classmethod
    def none(cls, joints: int) -> "Effort":
        """That of joints which stand still without torque."""
        return cls(*[(0.0,) * joints] * len(cls._fields))

    @classmethod
    def steady(cls, torque_nm: PerJoint, velocity_rad_s: PerJoint, lasts_s: float) -> "Effort":
        """The same torque and velocity for so long, for a body that knows no better."""
        both = list(zip(torque_nm, velocity_rad_s, strict=True))
        return cls(
            [torque * velocity * lasts_s for torque, velocity in both],
            [torque * torque * lasts_s for torque, _ in both],
            [velocity * velocity * lasts_s for _, velocity in both],
            [abs(velocity) * lasts_s for _, velocity in both],
        )

    def times(self, share: float) -> "Effort":
        """This share of it."""
        return Effort(*([share * a for a in integral] for integral in self))


class Reading(NamedTuple):
    """What the sensors of a body say at one instant.

    `position_rad`, `velocity_rad_s`, `torque_nm`: float64[joints].
    `tool_m`: float64[3], base frame. `switch`: what the tool's switch was last told (0 or 1).
    `holding`: the vacuum sensor. `scans` and `outcomes`: what arrived since the last reading;
    `effort`: what the joints did since then.
    """

    captured_ns: int
    position_rad: Vector
    velocity_rad_s: Vector
    torque_nm: Vector
    tool_m: Vector
    switch: float
    holding: bool
    scans: tuple[Scan, ...]
    outcomes: tuple[Episode, ...]
    effort: Effort


class Body(Protocol):
    """A robot body. Not thread-safe; every call returns at once."""

    spec: BodySpec

    def tool_position(self, position_rad: Vector) -> Vector:
        """Forward kinematics: joint positions float64[joints] to tool, float64[3], base frame."""
        ...

    def read(self, now_ns: int) -> Reading:
        """The sensors at `now_ns`; a simulated body first advances its world to that instant."""
        ...

    def write(self, setpoint: Vector) -> None:
        """Hands the drives one setpoint, float64[joints + 1] (the last entry is the switch)."""
        ...

    def hold(self) -> Vector:
        """The body's declared hold: the setpoint that keeps it still where it is."""
        ...

    def close(self) -> None:
        """Releases the drives; the body is at rest afterwards."""
        ...


class Perceiver(Protocol):
    """The perceive stage: readings in, the policy's observation out. It keeps its own tracks."""

    def update(self, reading: Reading) -> None:
        """Takes one reading into the tracks (every control tick)."""
        ...

    def features(self, reading: Reading) -> FloatArray:
        """The observation at the reading's capture time, float32[observation.size].

        The reading may be one expected later than the last update: what the stage tracks is then
        carried on to that time. It leaves the tracks as they are.
        """
        ...


class Embodiment(NamedTuple):
    """What a launcher hands to a device: the body, its perceive stage and the policy's spec."""

    body: Body
    perceiver: Perceiver
    policy: PolicySpec
