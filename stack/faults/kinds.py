"""The kinds of fault: the keys, targets and limits of each.

docs/faults.md is the reference; stack/config/fault_tables.py reads them from a file. `at_s` counts
from the beginning of the run, on either clock.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import msgspec

from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.wording import unknown_choice
from tierloop.link.model import Conditions

Direction = Literal["up", "down"]
Directions = Literal["both", "up", "down"]

EDGE, CLOUD, DEVICE = "edge", "cloud", "device"
SLOWEST = 0.1
"""No clock runs slower than at this rate, however many drifts meet."""


class _Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True,
             tag_field="kind"):  # fmt: skip
    at_s: float
    """When it begins, in seconds since the run began."""
    target: str
    """The process, device or link it befalls; "device" means every device or its link."""

    tiers: ClassVar[tuple[str, ...]] = (DEVICE, EDGE, CLOUD)
    limits: ClassVar[dict[str, tuple[float, float]]] = {}

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def begin_ns(self) -> int:
        return round(self.at_s * NS_PER_S)

    @property
    def end_ns(self) -> int:
        """When it is over; for what happens at an instant, that instant."""
        return self.begin_ns

    def names(self, robots: Sequence[str]) -> tuple[str, ...]:
        """The processes it befalls; of a link, that at its lower end."""
        return tuple(robots) if self.target == DEVICE else (self.target,)

    def check(self, robots: Sequence[str]) -> None:
        """Raises ValueError if a value or the target is unfit."""
        limits = {"at_s": (0.0, 1e7), "for_s": (1e-3, 1e7)} | self.limits
        for name in self.__struct_fields__:
            if name in limits:
                low, high = limits[name]
                if not low <= getattr(self, name) <= high:
                    raise ValueError(f"{name} must lie between {low:g} and {high:g}")
        known = [t for t in self.tiers if t != DEVICE]
        known += [*robots, DEVICE] if DEVICE in self.tiers else []
        if self.target not in known:
            raise ValueError(unknown_choice("target", self.target, known))


class _Lasting(_Fault, frozen=True, kw_only=True):
    for_s: float
    """How long it lasts, in seconds."""

    @property
    def end_ns(self) -> int:
        return round((self.at_s + self.for_s) * NS_PER_S)


class LinkFault(_Lasting, frozen=True, kw_only=True):
    """On a link: that of a device with the edge, or ("cloud") that of the edge with the cloud."""

    direction: Directions = "both"
    """Towards the cloud ("up"), towards the devices ("down"), or both."""

    tiers: ClassVar[tuple[str, ...]] = (DEVICE, CLOUD)

    def names(self, robots: Sequence[str]) -> tuple[str, ...]:
        return (EDGE,) if self.target == CLOUD else super().names(robots)

    def worsen(self, conditions: Conditions) -> None:
        """Adds this fault to what is wrong already."""
        raise NotImplementedError


class Partition(LinkFault, frozen=True, kw_only=True, tag="partition"):
    """Nothing passes."""

    def worsen(self, conditions: Conditions) -> None:
        conditions.cut = True


class Loss(LinkFault, frozen=True, kw_only=True, tag="loss"):
    """A share of the messages is lost."""

    loss: float
    """The share, above 0; 1 loses all."""

    limits: ClassVar[dict[str, tuple[float, float]]] = {"loss": (1e-6, 1.0)}

    def worsen(self, conditions: Conditions) -> None:
        conditions.loss = 1 - (1 - conditions.loss) * (1 - self.loss)


class Delay(LinkFault, frozen=True, kw_only=True, tag="delay"):
    """Every message takes longer."""

    delay_ms: float
    """How much longer, one way."""

    limits: ClassVar[dict[str, tuple[float, float]]] = {"delay_ms": (1e-3, 6e5)}

    def worsen(self, conditions: Conditions) -> None:
        conditions.extra_delay_ns += round(self.delay_ms * NS_PER_MS)


class Bandwidth(LinkFault, frozen=True, kw_only=True, tag="bandwidth"):
    """The link is slower than it should be."""

    bandwidth_mbps: float
    """The cap, in megabits a second."""

    limits: ClassVar[dict[str, tuple[float, float]]] = {"bandwidth_mbps": (1e-3, 1e6)}

    def worsen(self, conditions: Conditions) -> None:
        others = conditions.bandwidth_mbps or math.inf
        conditions.bandwidth_mbps = min(others, self.bandwidth_mbps)


class Corrupt(LinkFault, frozen=True, kw_only=True, tag="corrupt"):
    """A share of the messages arrives with one bit flipped."""

    share: float
    """The share, above 0."""

    limits: ClassVar[dict[str, tuple[float, float]]] = {"share": (1e-6, 1.0)}

    def worsen(self, conditions: Conditions) -> None:
        conditions.corrupt = 1 - (1 - conditions.corrupt) * (1 - self.share)


class Duplicate(LinkFault, frozen=True, kw_only=True, tag="duplicate"):
    """A share of the messages arrives twice."""

    share: float
    """The share, above 0."""

    limits: ClassVar[dict[str, tuple[float, float]]] = {"share": (1e-6, 1.0)}

    def worsen(self, conditions: Conditions) -> None:
        conditions.duplicate = 1 - (1 - conditions.duplicate) * (1 - self.share)


class Crash(_Lasting, frozen=True, kw_only=True, tag="crash"):
    """A process is killed, and started again `for_s` later. What it had on disk stays."""


class Hang(_Lasting, frozen=True, kw_only=True, tag="hang"):
    """A process works no more while its heartbeats go on; then it takes up what came in."""

    tiers: ClassVar[tuple[str, ...]] = (EDGE, CLOUD)


class SlowLearner(_Lasting, frozen=True, kw_only=True, tag="slow_learner"):
    """Each step of learning that begins in this time takes longer."""

    factor: float
    """How many times as long."""

    tiers: ClassVar[tuple[str, ...]] = (CLOUD,)
    limits: ClassVar[dict[str, tuple[float, float]]] = {"factor": (1.0, 1e4)}


class ClockStep(_Fault, frozen=True, kw_only=True, tag="clock_step"):
    """A process's monotonic clock leaps ahead, as one does that counts a suspended host."""

    step_ms: float
    """By how much; a monotonic clock never goes back."""

    limits: ClassVar[dict[str, tuple[float, float]]] = {"step_ms": (1e-3, 3.6e6)}


class ClockDrift(_Lasting, frozen=True, kw_only=True, tag="clock_drift"):
    """A process's clock runs at another rate; the error it has gathered stays."""

    ppm: float
    """Microseconds gained in each second; below 0, lost."""

    limits: ClassVar[dict[str, tuple[float, float]]] = {"ppm": (-5e5, 5e5)}


class SensorFreeze(_Lasting, frozen=True, kw_only=True, tag="sensor_freeze"):
    """The body's sensors repeat what they last said, as if it were new."""

    tiers: ClassVar[tuple[str, ...]] = (DEVICE,)


class SensorDropout(_Lasting, frozen=True, kw_only=True, tag="sensor_dropout"):
    """The body's sensors say nothing new: the last reading grows old."""

    tiers: ClassVar[tuple[str, ...]] = (DEVICE,)


class FullDisk(_Lasting, frozen=True, kw_only=True, tag="full_disk"):
    """No write to disk succeeds: neither experience nor policies."""

    tiers: ClassVar[tuple[str, ...]] = (EDGE, CLOUD)


Fault = (
    Partition | Loss | Delay | Bandwidth | Corrupt | Duplicate | Crash | Hang | SlowLearner
    | ClockStep | ClockDrift | SensorFreeze | SensorDropout | FullDisk
)  # fmt: skip
KINDS: dict[str, type[_Fault]] = {str(k.__struct_config__.tag): k for k in get_args(Fault)}

Faults = tuple[Fault, ...]
