"""The table of a sweep: one line a combination, its seeds pooled, with 95 % intervals."""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from contract.specs import Vector
from tierloop.charts import wilson
from tierloop.sweep.grid import Cell, Grid
from tierloop.sweep.store import Summary

RESAMPLES = 2000
"""Bootstrap resamples of the seeds."""
ENDS = (2.5, 97.5)

Interval = tuple[float, float] | None


class Line(NamedTuple):
    """One combination of swept values; a figure is None where there is nothing to take it from.

    `success`: of all its episodes, with the Wilson interval. Ages of action: mean over the seeds
    of each one's percentile. `joules_per_success`: all joules by all successes, with the interval
    of a bootstrap over the seeds, None for fewer than two. `violations` of invariants, in all.
    """

    values: tuple[str, ...]
    seeds: int
    episodes: int
    successes: int
    success: float | None
    success_interval: Interval
    age_p50_ms: float | None
    age_p90_ms: float | None
    joules_per_success: float | None
    joules_interval: Interval
    violations: int


COLUMNS = (
    "seeds", "episodes", "successes", "success", "success_low", "success_high",
    "age_p50_ms", "age_p90_ms", "joules_per_success", "joules_low", "joules_high", "violations",
)  # fmt: skip


def lines(grid: Grid, summaries: Mapping[str, Summary]) -> list[Line]:
    """A line for each combination of which at least one run is among `summaries`, by cell name."""
    found = []
    for values, cells in groupby(grid.cells, key=lambda cell: cell.values):
        done = [summaries[cell.name] for cell in _unique(cells) if cell.name in summaries]
        if done:
            found.append(line(values, done))
    return found


def _unique(cells: Any) -> list[Cell]:
    return list({cell.name: cell for cell in cells}.values())


def line(values: tuple[str, ...], runs: Sequence[Summary]) -> Line:
    """The line of some runs that differ in their seed alone."""
    episodes = sum(run["success"]["episodes"] for run in runs)
    won = np.array([run["success"]["successes"] for run in runs], np.float64)
    joules = np.array([_joules(run["energy_j"]) for run in runs])
    total, successes = float(joules.sum()), int(won.sum())
    return Line(
        values=values,
        seeds=len(runs),
        episodes=episodes,
        successes=successes,
        success=successes / episodes if episodes else None,
        success_interval=wilson(successes, episodes) if episodes else None,
        age_p50_ms=_mean([run["action_age_ms"]["p50"] for run in runs]),
        age_p90_ms=_mean([run["action_age_ms"]["p90"] for run in runs]),
        joules_per_success=total / successes if successes else None,
        joules_interval=ratio_interval(joules, won),
        violations=sum(sum(run["invariants"].values()) for run in runs),
    )


def _joules(energy: Mapping[str, Any]) -> float:
    return float(sum(energy["device"].values()) + energy["edge"] + energy["cloud"])


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def ratio_interval(above: Vector, below: Vector) -> Interval:
    """The 95 % bootstrap interval of sum(above) / sum(below), float64[n] each, drawn in pairs.

    None if there are fewer than two pairs, or a resample may well have nothing below.
    """
    if len(above) < 2:
        return None
    picks = np.random.default_rng(0).integers(len(above), size=(RESAMPLES, len(above)))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = above[picks].sum(1) / below[picks].sum(1)
    low, high = np.percentile(
        np.nan_to_num(ratios, nan=np.inf, posinf=np.inf), ENDS, method="nearest"
    )
    return (float(low), float(high)) if np.isfinite(high) else None


def to_csv(grid: Grid, found: Sequence[Line]) -> str:
    """The lines as CSV, a column for each swept key first; nothing where there is no figure."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*(axis.key for axis in grid.axes), *COLUMNS))
    for one in found:
        figures = (
            one.seeds, one.episodes, one.successes, one.success, *(one.success_interval or NONE),
            one.age_p50_ms, one.age_p90_ms,
            one.joules_per_success, *(one.joules_interval or NONE), one.violations,
        )  # fmt: skip
        writer.writerow((*one.values, *("" if f is None else f"{f:.6g}" for f in figures)))
    return file.getvalue()


NONE = (None, None)
HEADS = ("seeds", "episodes", "success (95 %)", "age p50", "age p90", "J a success (95 %)")


def texts(one: Line) -> tuple[str, ...]:
    """The figures of a line as people read them, under HEADS."""
    return (
        str(one.seeds),
        str(one.episodes),
        _with(one.success, one.success_interval, "{:.3f}"),
        _text(one.age_p50_ms, "{:.1f} ms"),
        _text(one.age_p90_ms, "{:.1f} ms"),
        _with(one.joules_per_success, one.joules_interval, "{:.0f}"),
    )


def _with(value: float | None, interval: Interval, form: str) -> str:
    spread = f" ({form.format(interval[0])} to {form.format(interval[1])})" if interval else ""
    return _text(value, form) + spread


def _text(value: float | None, form: str) -> str:
    return "—" if value is None else form.format(value)
