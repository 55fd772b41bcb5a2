"""The table of a sweep: one line a combination, its seeds pooled, with 95 % intervals."""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import scipy  # its parts load when they are used

from tierloop.contract.specs import Vector
from tierloop.sweep.grid import Grid, GridCell
from tierloop.sweep.store import Summary
from tierloop.views.charts import wilson

Interval = tuple[float, float] | None


class TableLine(NamedTuple):
    """One combination of swept values; a figure is None where there is nothing to take it from.

    `success`: of all its episodes. Ages of action: mean over the seeds of each one's percentile.
    `joules_per_success`: joules of acting by all successes. Joules of a robot, edge and cloud, and
    the hours that a battery lasts, that of the robot that is empty first, are means over the seeds.
    Seeds, not episodes, are what is independent:
    intervals are those of `spread`, None for fewer than two seeds; that of success is at least as
    wide as Wilson's over all episodes, which is all there is for one seed. `violations` of
    invariants, in all.
    """

    values: tuple[str, ...]
    seeds: int
    episodes: int
    successes: int
    success: float | None
    success_interval: Interval
    age_p50_ms: float | None
    age_p50_interval: Interval
    age_p90_ms: float | None
    age_p90_interval: Interval
    joules_per_success: float | None
    joules_interval: Interval
    robot_j: float
    edge_j: float
    cloud_j: float
    battery_h: float | None
    violations: int


COLUMNS = (
    "seeds", "episodes", "successes", "success", "success_low", "success_high",
    "age_p50_ms", "age_p50_low", "age_p50_high", "age_p90_ms", "age_p90_low", "age_p90_high",
    "joules_per_success", "joules_low", "joules_high",
    "robot_j", "edge_j", "cloud_j", "battery_h", "violations",
)  # fmt: skip


def table_lines(grid: Grid, summaries: Mapping[str, Summary]) -> list[TableLine]:
    """A line for each combination of which at least one run is among `summaries`, by cell name."""
    found = []
    for values, cells in groupby(grid.cells, key=lambda cell: cell.values):
        done = [summaries[cell.name] for cell in _unique(cells) if cell.name in summaries]
        if done:
            found.append(line(values, done))
    return found


def _unique(cells: Any) -> list[GridCell]:
    return list({cell.name: cell for cell in cells}.values())


def line(values: tuple[str, ...], runs: Sequence[Summary]) -> TableLine:
    """The line of some runs that differ in their seed alone."""
    lived = np.array([run["success"]["episodes"] for run in runs], np.float64)
    won = np.array([run["success"]["successes"] for run in runs], np.float64)
    spent = [run["energy_j"] for run in runs]
    joules = np.array([one["acting"] for one in spent], np.float64)
    hours = np.array([h for h in map(_battery_h, spent) if h is not None], np.float64)
    p50_ms, p90_ms = (_ages_ms(runs, name) for name in ("p50", "p90"))
    episodes, successes = int(lived.sum()), int(won.sum())
    return TableLine(
        values=values,
        seeds=len(runs),
        episodes=episodes,
        successes=successes,
        success=successes / episodes if episodes else None,
        success_interval=_share(won, lived) if episodes else None,
        age_p50_ms=_mean(p50_ms),
        age_p50_interval=spread(p50_ms, np.ones_like(p50_ms)),
        age_p90_ms=_mean(p90_ms),
        age_p90_interval=spread(p90_ms, np.ones_like(p90_ms)),
        joules_per_success=float(joules.sum()) / successes if successes else None,
        joules_interval=spread(joules, won),
        robot_j=float(np.mean([np.mean([*one["robots"].values()]) for one in spent])),
        edge_j=float(np.mean([one["edge"] for one in spent])),
        cloud_j=float(np.mean([one["cloud"] for one in spent])),
        battery_h=_mean(hours),
        violations=sum(sum(run["invariants"].values()) for run in runs),
    )


def _battery_h(energy: Mapping[str, Any]) -> float | None:
    """Of the robot whose battery lasts shortest; None where none lost charge."""
    hours = (battery["battery_h"] for battery in energy["battery"].values())
    return min((h for h in hours if h is not None), default=None)


def _ages_ms(runs: Sequence[Summary], name: str) -> Vector:
    """A percentile of each run in which something acted."""
    ages = (run["action_age_ms"][name] for run in runs)
    return np.array([age for age in ages if age is not None], np.float64)


def _mean(values: Vector) -> float | None:
    return float(values.mean()) if len(values) else None


def _share(won: Vector, lived: Vector) -> Interval:
    low, high = wilson(int(won.sum()), int(lived.sum()))
    between = spread(won, lived)
    return (min(low, between[0]), max(high, min(between[1], 1.0))) if between else (low, high)


def spread(above: Vector, below: Vector) -> Interval:
    """The 95 % interval of sum(above) / sum(below), float64[n] each, of n independent pairs.

    The ratio estimator's variance by linearisation (Cochran 1977, 6.4) and Student's t with n - 1
    degrees of freedom; never below 0. None if there are fewer than two pairs, or nothing below.
    """
    n, whole = len(above), below.sum()
    if n < 2 or not whole:
        return None
    ratio = above.sum() / whole
    gaps = above - ratio * below
    half = scipy.special.stdtrit(n - 1, 0.975) * np.sqrt(n / (n - 1) * (gaps @ gaps)) / whole
    return max(0.0, float(ratio - half)), float(ratio + half)


def to_csv(grid: Grid, found: Sequence[TableLine]) -> str:
    """The lines as CSV, a column for each swept key first; nothing where there is no figure."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*(axis.key for axis in grid.axes), *COLUMNS))
    for one in found:
        figures = (
            one.seeds, one.episodes, one.successes, one.success, *(one.success_interval or NONE),
            one.age_p50_ms, *(one.age_p50_interval or NONE),
            one.age_p90_ms, *(one.age_p90_interval or NONE),
            one.joules_per_success, *(one.joules_interval or NONE),
            one.robot_j, one.edge_j, one.cloud_j, one.battery_h, one.violations,
        )  # fmt: skip
        writer.writerow((*one.values, *("" if f is None else f"{f:.6g}" for f in figures)))
    return file.getvalue()


NONE = (None, None)
HEADS = (
    "seeds",
    "episodes",
    "success (95 %)",
    "age p50, ms",
    "age p90, ms",
    "J per success (95 %)",
    "J a robot",
    "J edge",
    "J cloud",
    "battery, h",
)


def texts(one: TableLine) -> tuple[str, ...]:
    """The figures of a line as people read them, under HEADS."""
    return (
        str(one.seeds),
        str(one.episodes),
        _with(one.success, one.success_interval, "{:.3f}"),
        _with(one.age_p50_ms, one.age_p50_interval, "{:.1f}"),
        _with(one.age_p90_ms, one.age_p90_interval, "{:.1f}"),
        _with(one.joules_per_success, one.joules_interval, "{:.0f}"),
        *(_text(joules, "{:.0f}") for joules in (one.robot_j, one.edge_j, one.cloud_j)),
        _text(one.battery_h, "{:.1f}"),
    )


def _with(value: float | None, interval: Interval, form: str) -> str:
    ends = f" ({form.format(interval[0])} to {form.format(interval[1])})" if interval else ""
    return _text(value, form) + ends


def _text(value: float | None, form: str) -> str:
    return "—" if value is None else form.format(value)
