"""The interfaces of a robot body and of its perceive stage, as the device tier uses them."""

from collections.abc import Callable
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


class Reading(NamedTuple):
    """What the sensors of a body say at one instant.

    `position_rad`, `velocity_rad_s`, `torque_nm`: float64[joints].
    `tool_m`: float64[3], base frame. `switch`: what the tool's switch was last told (0 or 1).
    `holding`: the vacuum sensor. `scans` and `outcomes`: what arrived since the last reading.
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
