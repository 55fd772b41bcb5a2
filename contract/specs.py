"""Specs: the names, sizes and limits of arrays, policies and bodies, and checks against them."""

import hashlib
from collections.abc import Sequence
from math import isfinite

import msgspec
import numpy as np
from numpy.typing import NDArray

from tierloop.contract.errors import SpecError

FloatArray = NDArray[np.float32]
Vector = NDArray[np.float64]


_SHORT = 128


def finite(value: np.ndarray) -> bool:
    """Whether all of an array is finite, and so is its sum (or that of its squares).

    On a path that has just been woken, a short array costs least as a list, a long one least in
    one pass without a temporary; `isfinite(value).all()` costs several times as much.
    """
    if value.size <= _SHORT:
        return isfinite(sum((value if value.ndim == 1 else value.ravel()).tolist()))
    return isfinite(np.vdot(value, value))


class ArraySpec(msgspec.Struct, frozen=True, kw_only=True):
    """A named float32 vector; `labels`, `low` and `high` have one entry an element.

    Labels carry the unit (`joint_3_rad`), so that an error can name the element.
    """

    name: str
    labels: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.labels) == len(self.low) == len(self.high) > 0:
            raise SpecError(
                f"{self.name}: {len(self.labels)} labels, {len(self.low)} low, "
                f"{len(self.high)} high; each element needs one of each"
            )
        for label, low, high in zip(self.labels, self.low, self.high, strict=True):
            if not low < high:
                raise SpecError(f"{self.name}.{label}: low {low} is not below high {high}")

    @property
    def size(self) -> int:
        return len(self.labels)

    def validate(self, value: np.ndarray, rows: int | None = None) -> None:
        """Raises SpecError unless `value` is finite float32 of shape (size,) or (rows, size)."""
        shape = (self.size,) if rows is None else (rows, self.size)
        if value.shape != shape or value.dtype != np.float32:
            raise SpecError(
                f"{self.name}: expected float32{list(shape)}, got {value.dtype}{list(value.shape)}"
            )
        if not np.isfinite(value).all():
            bad = int(np.argwhere(~np.isfinite(value))[0][-1])
            raise SpecError(f"{self.name}.{self.labels[bad]}: not finite")

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """A conforming vector, float32[size], uniform between low and high."""
        return rng.uniform(self.low, self.high).astype(np.float32)


class PolicySpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy takes and gives: one observation in, `horizon` actions `period_ns` apart out.

    Row k of the answer is the setpoint to be reached at capture + (k + 1) * period_ns.
    """

    task: str
    body: str
    observation: ArraySpec
    action: ArraySpec
    horizon: int
    period_ns: int

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change when any field does."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:16]

    @property
    def validity_ns(self) -> int:
        """How long after the capture a chunk may still act."""
        return self.horizon * self.period_ns

    def require(self, other: "PolicySpec", who: str) -> None:
        """Raises SpecError naming the first field of `other` that differs from this one."""
        for field in ("observation", "action"):
            needed, given = getattr(self, field).size, getattr(other, field).size
            if needed != given:
                raise SpecError(
                    f"{who}: {field} is float32[{given}], the body's is float32[{needed}]"
                )
        for field in self.__struct_fields__:
            mine, theirs = getattr(self, field), getattr(other, field)
            if mine != theirs:
                both = "" if isinstance(mine, ArraySpec) else f": {theirs!r}, not {mine!r}"
                raise SpecError(f"{who}: {field} differs from the body's{both}")


class PowerUncertainty(msgspec.Struct, frozen=True, kw_only=True):
    """How far a body's power constants may be off: relative half-widths at 95 %; 0: exact.

    One figure for all joints, which are wrong together.
    """

    copper: float = 0.0
    viscous: float = 0.0
    coulomb: float = 0.0
    drive: float = 0.0
    bus: float = 0.0
    switch: float = 0.0
    sensors: float = 0.0


class BodySpec(msgspec.Struct, frozen=True, kw_only=True):
    """A body's joints, limits and power model. Angles rad, SI units, base frame.

    The action is one position setpoint a joint followed by one switch (suction, 0 to 1).
    Power per joint: tau*w + copper*tau^2 + viscous*w^2 + coulomb*|w|, and `drive_w` all the time.
    Of what a joint brakes, `bus_share` reaches the bus that feeds all drives of the body; the rest
    is burnt (the joint model of docs/energy.md).
    """

    name: str
    joints: tuple[str, ...]
    control_period_ns: int
    physics_period_ns: int
    position_low_rad: tuple[float, ...]
    position_high_rad: tuple[float, ...]
    velocity_rad_s: tuple[float, ...]
    acceleration_rad_s2: tuple[float, ...]
    torque_nm: tuple[float, ...]
    workspace_low_m: tuple[float, float, float]
    workspace_high_m: tuple[float, float, float]
    copper_w_per_nm2: tuple[float, ...]
    viscous_w_s2: tuple[float, ...]
    coulomb_w_s: tuple[float, ...]
    switch_w: float
    sensors_w: float
    drive_w: float = 0.0
    bus_share: float = 0.0
    power_uncertainty: PowerUncertainty = PowerUncertainty()

    def __post_init__(self) -> None:
        n = len(self.joints)
        per_joint: dict[str, Sequence[float]] = {
            f: v
            for f in self.__struct_fields__
            if isinstance(v := getattr(self, f), tuple) and f.split("_")[0] != "workspace"
        }
        for field, values in per_joint.items():
            if len(values) != n:
                raise SpecError(f"{self.name}.{field}: {len(values)} entries for {n} joints")
        if self.control_period_ns % self.physics_period_ns:
            raise SpecError(
                f"{self.name}: control period {self.control_period_ns} ns is no multiple of the "
                f"physics step {self.physics_period_ns} ns"
            )
