"""A budget: this percentile of that metric may be so much at most. One `[[budget]]` table."""

from math import isfinite
from typing import Literal, NamedTuple

import msgspec

MetricClock = Literal["wall", "cpu", "instructions", "virtual", "none"]
"""What a figure was taken by: a clock, processor time, a count of instructions, or nothing."""

TIMES_BARE = "x"
"""The unit of a limit that is a multiple of the baseline measured in the same run."""


class Metric(NamedTuple):
    """Something a benchmark measures. Smaller is better, always."""

    name: str
    unit: str
    scenario: str = ""
    clock: MetricClock = "wall"

    def __str__(self) -> str:
        return f"{self.name} [{self.scenario}]" if self.scenario else self.name


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[budget]]` table."""

    metric: str
    """What is measured."""
    limit: float
    """The most that is allowed."""
    unit: str
    """The metric's own, or "x": times the baseline measured beside it in the same run."""
    percentile: float = 50.0
    """Of the samples; 50 is the median."""
    scenario: str = ""
    """Under which circumstances, where the metric has several."""
    clock: MetricClock = "wall"
    """What the metric is taken by."""

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise ValueError(f"percentile {self.percentile:g} must lie in (0, 100]")
        if not (isfinite(self.limit) and self.limit >= 0):
            raise ValueError(f"limit {self.limit} must be finite and not negative")

    def covers(self, metric: Metric) -> bool:
        """Whether it is about this metric."""
        there = (metric.name, metric.scenario, metric.clock)
        return (self.metric, self.scenario, self.clock) == there
