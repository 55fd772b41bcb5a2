"""The `[[budget]]` tables of a deployment, judged on the record of its run."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contract.budget import TIMES_BARE, Budget, Clock
from contract.clock import NS_PER_US
from contract.errors import UserError
from tierloop import parts
from tierloop.bench import budget
from tierloop.bench.budget import Placed
from tierloop.bench.protocol import Metric, Series
from tierloop.bench.statistics import Blocks, Verdict
from tierloop.bench.verdicts import BROKEN, FINE, INCONCLUSIVE, Line, lines, sentence
from tierloop.join import PARTS
from tierloop.record import Record
from tierloop.summary import ages_ms, round_trips_ms

BLOCKS = 16
"""A run's samples are cut into so many stretches of time, which are what is independent."""


def metrics(clock: Clock) -> tuple[Metric, ...]:
    """What a run on this clock is judged by."""
    units = {
        "age_of_action": "ms", "round_trip": "ms", "tick_lateness": "us",
        "missed_ticks": "share", "energy_per_success": "J",
    }  # fmt: skip
    return tuple(Metric(name, unit, clock=clock) for name, unit in units.items())


def known() -> tuple[Metric, ...]:
    """What the budgets of a deployment may be about: its runs, and `bench --deployment`."""
    from tierloop.bench.own import METRICS

    return (*metrics("wall"), *metrics("virtual"), *METRICS)


def check(budgets: Sequence[Budget]) -> None:
    """Raises UserError, before a run, for a budget about nothing."""
    for number, one in enumerate(budgets, 1):
        budget.check([Placed(one, f"budget {number} ({one.metric})")], known())
        if one.unit == TIMES_BARE:
            raise UserError(f"budget {number} ({one.metric}): a run has no bare limit beside it")


def verdict(out: Path, summary: Mapping[str, Any], budgets: Sequence[Budget]) -> int:
    """Prints a line for what did not pass; the exit code."""
    found = judge(out, summary, budgets)
    for line in found:
        if line.verdict is not Verdict.PASS:
            print(f"tierloop: {remark(line)}", file=sys.stderr)
    return exit_code(found)


def judge(out: Path, summary: Mapping[str, Any], budgets: Sequence[Budget]) -> tuple[Line, ...]:
    """A line for every budget on the clock of the run."""
    record = Record()
    for report in parts.read(out / PARTS):
        record.take(report)
    virtual = summary["clock"] == "virtual"
    rows = record.decisions()
    ticks, energy = summary["ticks"], summary["energy_j"]["per_success"]
    missed = [ticks["missed"] / ticks["n"]] if ticks["n"] else []
    samples = (
        ages_ms(rows), round_trips_ms(rows), record.lateness_ns() / NS_PER_US,
        np.array(missed), np.array([] if energy is None else [energy]),
    )  # fmt: skip
    clock: Clock = "virtual" if virtual else "wall"
    own = [budget for budget in budgets if budget.clock == clock]
    series = [
        Series(metric, _blocks(values), exact=virtual or len(values) == 1)
        for metric, values in zip(metrics(clock), samples, strict=True)
        if any(budget.covers(*metric.key) for budget in own)
    ]
    return lines(series, own)


def exit_code(found: Sequence[Line]) -> int:
    """3 if a budget is broken, 4 if one cannot be told."""
    verdicts = {line.verdict for line in found}
    if Verdict.FAIL in verdicts:
        return BROKEN
    return INCONCLUSIVE if Verdict.INCONCLUSIVE in verdicts else FINE


def remark(line: Line) -> str:
    """What is to be said of a line that did not pass."""
    word = "budget broken" if line.verdict is Verdict.FAIL else "inconclusive"
    return f"{word}: {sentence(line)}"


def _blocks(values: np.ndarray) -> Blocks:
    if not len(values):
        return ()
    return tuple(np.array_split(values.astype(np.float64), min(BLOCKS, len(values))))
