"""Checks budgets: each is about a metric that is measured, and none is missing.

A file of budgets is complete when every stream of `contract/streams.py` and every process has a
budget.
"""

from collections.abc import Iterable, Sequence

from tierloop.contract.budget import TIMES_BARE, Budget, Metric
from tierloop.contract.errors import UserError
from tierloop.contract.streams import STREAMS
from tierloop.contract.wording import near
from tierloop.stack.config.budget_tables import Placed

STREAM, PROCESS = "codec", "memory"
"""The metrics whose scenarios are the streams and the processes."""

PROCESSES = ("device", "edge", "cloud", "roof")


def check(placed: Iterable[Placed], known: Sequence[Metric]) -> None:
    """Raises UserError unless each budget is about a metric that is measured, in its unit."""
    for budget, where in placed:
        namesakes = [metric for metric in known if metric.name == budget.metric]
        if not namesakes:
            names = sorted({metric.name for metric in known})
            hint = near(budget.metric, names) or f"; choose one of: {', '.join(names)}"
            raise UserError(f"{where}: unknown metric '{budget.metric}'{hint}")
        fitting = [metric for metric in namesakes if budget.covers(metric)]
        clocks = sorted({m.clock for m in namesakes if m.scenario == budget.scenario})
        if not fitting and clocks:
            have = " or ".join(f'clock = "{clock}"' for clock in clocks)
            raise UserError(
                f"{where}: clock '{budget.clock}' does not fit; {budget.metric} needs {have}"
            )
        if not fitting:
            given = f"scenario '{budget.scenario}' on clock '{budget.clock}'"
            have = ", ".join(sorted({f"'{m.scenario}' on '{m.clock}'" for m in namesakes}))
            raise UserError(f"{where}: {budget.metric} has no {given}; choose one of: {have}")
        if budget.unit not in (TIMES_BARE, fitting[0].unit):
            raise UserError(
                f"{where}: unit '{budget.unit}' does not fit; {budget.metric} is measured in "
                f"'{fitting[0].unit}', or in '{TIMES_BARE}', multiples of its baseline"
            )


def missing(budgets: Iterable[Budget]) -> list[str]:
    """The streams and processes without a line, in words."""
    have = {(budget.metric, budget.scenario) for budget in budgets}
    streams = dict.fromkeys(stream.message.__name__ for stream in STREAMS)
    lacking = [f"stream {name}" for name in streams if (STREAM, name) not in have]
    return lacking + [f"process {name}" for name in PROCESSES if (PROCESS, name) not in have]
