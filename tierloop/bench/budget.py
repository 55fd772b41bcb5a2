"""Budgets as data: what may cost how much, one `[[budget]]` table a line.

A file of budgets is complete when every stream of `contract/streams.py` and every process has a
line; what nobody has a budget for, nobody notices growing.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tierloop.bench.protocol import Metric
from tierloop.contract.budget import TIMES_BARE, Budget
from tierloop.contract.errors import UserError
from tierloop.contract.streams import STREAMS
from tierloop.stack.config.toml import Source, explain, near

STREAM, PROCESS = "codec", "memory"
"""The metrics whose scenarios are the streams and the processes."""

PROCESSES = ("device", "edge", "cloud", "roof")


class Placed(NamedTuple):
    """A budget and where it stands, for whoever has to say that it is wrong."""

    budget: Budget
    where: str


def load(path: Path) -> list[Placed]:
    """The budgets of a file that holds nothing else. Raises UserError in one line."""
    source = Source(path)
    if strange := [key for key in source.data if key != "budget"]:
        raise UserError(
            f"{source.where((strange[0],))}: unknown key '{strange[0]}'; "
            "a file of budgets holds [[budget]] tables alone"
        )
    found = read(source)
    if not found:
        raise UserError(f"{path}: no [[budget]] table")
    return found


def read(source: Source) -> list[Placed]:
    """The `[[budget]]` tables of a file, checked one by one. Raises UserError in one line."""
    entries = source.data.get("budget", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{source.where(('budget',))}: expected [[budget]] tables")
    found: list[Placed] = []
    for number, entry in enumerate(entries):
        where = f"{source.where(('budget', str(number)))}: budget {_named(number, entry)}"
        try:
            budget = msgspec.convert(entry, Budget)
        except msgspec.ValidationError as error:
            raise UserError(f"{where}: {explain(Budget, str(error))}") from None
        found.append(Placed(budget, where))
    return found


def check(placed: Iterable[Placed], known: Sequence[Metric]) -> None:
    """Raises UserError unless each budget is about a metric that is measured, in its unit."""
    for budget, where in placed:
        namesakes = [metric for metric in known if metric.name == budget.metric]
        if not namesakes:
            names = sorted({metric.name for metric in known})
            hint = near(budget.metric, names) or f"; known: {', '.join(names)}"
            raise UserError(f"{where}: unknown metric '{budget.metric}'{hint}")
        fitting = [metric for metric in namesakes if budget.covers(*metric.key)]
        clocks = sorted({m.clock for m in namesakes if m.scenario == budget.scenario})
        if not fitting and clocks:
            have = " or ".join(f'clock = "{clock}"' for clock in clocks)
            raise UserError(f"{where}: clock '{budget.clock}'; {budget.metric} needs {have}")
        if not fitting:
            given = f"scenario '{budget.scenario}' on clock '{budget.clock}'"
            have = ", ".join(sorted({f"'{m.scenario}' on '{m.clock}'" for m in namesakes}))
            raise UserError(f"{where}: no {given}; known: {have}")
        if budget.unit not in (TIMES_BARE, fitting[0].unit):
            raise UserError(
                f"{where}: unit '{budget.unit}'; {budget.metric} is measured in "
                f"'{fitting[0].unit}', or in '{TIMES_BARE}', times its bare limit"
            )


def missing(budgets: Iterable[Budget]) -> list[str]:
    """The streams and processes without a line, in words."""
    have = {(budget.metric, budget.scenario) for budget in budgets}
    streams = dict.fromkeys(stream.message.__name__ for stream in STREAMS)
    lacking = [f"stream {name}" for name in streams if (STREAM, name) not in have]
    return lacking + [f"process {name}" for name in PROCESSES if (PROCESS, name) not in have]


def _named(number: int, entry: dict[str, Any]) -> str:
    metric = entry.get("metric")
    return f"{number + 1} ({metric})" if metric else str(number + 1)
