"""Hardware profiles: how long a job takes on a machine, and the watts it draws meanwhile.

A profile is one TOML file: those shipped lie in `stack/config/profiles/` and go by name, a user's
own (as `tierloop calibrate` writes it) by path. Every figure carries its kind, its source and how
far off it may be: docs/hardware.md.
"""

from functools import lru_cache
from math import exp
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from tierloop.contract.clock import NS_PER_US
from tierloop.contract.errors import UserError
from tierloop.contract.policy import Work
from tierloop.stack.config.roofline import Roofline
from tierloop.stack.config.toml import Source

SHIPPED = Path(__file__).parent / "profiles"
SUFFIX = ".toml"
A_PROFILE = "a .toml file that 'tierloop calibrate' wrote"

ONE_NETWORK = "one network only, whichever it was"
"""What a profile without a roofline was fitted on."""
UNCOUNTED = "a network whose operations nobody counted"

Provenance = Literal["measured", "vendor", "estimated"]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The root of a profile's tables."""


class Power(_Table, frozen=True, kw_only=True):
    """One value, believed to lie between `low` and `high`."""

    value: float
    low: float
    high: float
    kind: Provenance
    source: str

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.value <= self.high:
            raise ValueError("must satisfy 0 < low <= value <= high")


class DurationCurve(_Table, frozen=True, kw_only=True):
    """Median duration of a job by its rows: straight between the points and on past the last.

    Below the first point it is in proportion where there is one point only, else the first's.
    One draw is the median times exp(`jitter` * N(0, 1)): log-normal. The true median is believed
    to lie within a factor of `factor` of the one stated.
    """

    rows: tuple[int, ...]
    us: tuple[float, ...]
    jitter: float
    factor: float
    kind: Provenance
    source: str

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.us) or not self.rows:
            raise ValueError(
                f"rows has {len(self.rows)} entries and us has {len(self.us)}; give one us per row"
            )
        if self.rows[0] < 1 or any(np.diff(self.rows) <= 0):
            raise ValueError("rows must start at 1 or more and increase")
        if min(self.us) <= 0 or any(np.diff(self.us) < 0):
            raise ValueError("us must be positive and must not decrease")
        if self.jitter < 0 or self.factor < 1:
            raise ValueError("jitter must be at least 0 and factor at least 1")

    def median_us(self, rows: int) -> float:
        """The median for this many rows."""
        if len(self.rows) == 1:
            return self.us[0] * rows / self.rows[0]
        if rows <= self.rows[-1]:
            return float(np.interp(rows, self.rows, self.us))
        (before, last), (low, high) = self.rows[-2:], self.us[-2:]
        return high + (high - low) * (rows - last) / (last - before)


class InferenceCurve(DurationCurve, frozen=True, kw_only=True):
    """Of one network; a network of other work takes as many times as long as `roofline` says.

    Without a roofline, as profiles before it are, every network takes as long as that one.
    """

    roofline: Roofline | None = None

    def us_of(self, work: Work | None, rows: int) -> float:
        """The median of a network of this work; None stands for the curve's own network."""
        ratio = self.roofline.ratio(work, rows) if self.roofline and work else 1.0
        return self.median_us(rows) * ratio

    def outside(self, work: Work | None, rows: int) -> str:
        """What of this batch is a guess, since the profile was not fitted on it; "" for nothing."""
        if self.roofline is None:
            return ONE_NETWORK
        return self.roofline.outside(work, rows) if work else UNCOUNTED


class Jobs(_Table, frozen=True, kw_only=True):
    """What a machine does for this project, and what a row of it is."""

    infer: InferenceCurve
    """The policy answers a batch; a row is an observation."""
    install: DurationCurve
    """A policy is verified, loaded and warmed up; a row is a policy."""
    commit: DurationCurve
    """Records are made durable in one transaction; a row is a record."""
    tick: DurationCurve
    """The control loop's own work, physics apart; a row is a tick."""
    fit: DurationCurve
    """The learner descends; a row is a sample (steps times batch size)."""
    twin: DurationCurve
    """The twin lives on; a row is a decision."""


class Profile(_Table, frozen=True, kw_only=True):
    """One machine."""

    about: str
    idle_w: Power
    busy_w: Power
    jobs: Jobs

    def duration_ns(self, job: str, rows: int, rng: np.random.Generator) -> int:
        """Draws how long a job takes on this machine, ns; `job` is a field of Jobs.

        Takes one normal number from `rng`.
        """
        curve: DurationCurve = getattr(self.jobs, job)
        us = curve.median_us(rows) * exp(curve.jitter * rng.standard_normal())
        return max(1, round(us * NS_PER_US))


def shipped() -> tuple[str, ...]:
    """The names of the profiles that come with the project."""
    return tuple(sorted(path.stem for path in SHIPPED.glob(f"*{SUFFIX}")))


def is_path(hardware: str) -> bool:
    """Whether it is a user's file rather than the name of a shipped profile."""
    return hardware.endswith(SUFFIX) or "/" in hardware


@lru_cache(maxsize=64)
def load(hardware: str) -> Profile:
    """Reads the shipped profile of this name, or the profile in this file. Raises UserError."""
    if is_path(hardware):
        return Source(Path(hardware), wanted=A_PROFILE).convert(Profile)
    if hardware not in shipped():
        raise UserError(
            f"unknown hardware '{hardware}'; choose one of: {', '.join(shipped())}, or "
            f"give {A_PROFILE}"
        )
    return Source(SHIPPED / f"{hardware}{SUFFIX}").convert(Profile)
