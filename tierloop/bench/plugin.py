"""The pytest plugin: a fixture `budget` that asserts what a policy of your own may cost.

Installed with tierloop, so that any repository's tests have it. It imports nothing of tierloop
until a test asks for the fixture.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tierloop.bench.protocol import Series
    from tierloop.bench.verdicts import Line
    from tierloop.contract.budget import Metric

SECONDS = 3.0
"""How long a policy is measured by default."""


class Measured:
    """Figures of one policy on one body."""

    def __init__(self, metrics: Sequence["Metric"], series: Sequence["Series"]) -> None:
        self._metrics, self._series = metrics, series

    def within(self, metric: str, *, limit: float, unit: str, percentile: float = 50.0) -> None:
        """Fails the test if the budget is broken, skips it if that cannot be told.

        `metric`: inference, decision, tick or decision_energy; `unit`: its own (us, mJ), or "x",
        times the baseline.
        """
        from tierloop.bench.statistics import Verdict
        from tierloop.bench.words import remark

        with _mistakes_in_one_line():
            judged = self._judged(metric, limit, unit, percentile)
        if judged.verdict is Verdict.FAIL:
            pytest.fail(remark(judged), pytrace=False)
        if judged.verdict is Verdict.INCONCLUSIVE:
            pytest.skip(remark(judged))

    def _judged(self, metric: str, limit: float, unit: str, percentile: float) -> "Line":
        from tierloop.bench import budget, verdicts
        from tierloop.contract.budget import Budget, MetricClock
        from tierloop.contract.errors import UserError
        from tierloop.stack.config.budget_tables import Placed

        clocks: dict[str, MetricClock] = {known.name: known.clock for known in self._metrics}
        try:
            line = Budget(
                metric=metric, limit=limit, unit=unit, percentile=percentile,
                clock=clocks.get(metric, "wall"),
            )  # fmt: skip
        except ValueError as error:
            raise UserError(f"budget {metric}: {error}") from None
        budget.check([Placed(line, f"budget {metric}")], self._metrics)
        about = [one for one in self._series if line.covers(one.metric)]
        (judged,) = verdicts.lines(about, [line])
        return judged


@pytest.fixture
def budget() -> Callable[..., Measured]:
    """`budget("my.onnx", body="my_package:MyBody")` measures; `.within(...)` asserts."""

    def measure(
        policy: str | Path,
        body: str,
        deployment: str | Path | None = None,
        seconds: float = SECONDS,
    ) -> Measured:
        from tierloop.bench.own import measure

        with _mistakes_in_one_line():
            chosen = measure.benchmark(Path(policy), body, Path(deployment) if deployment else None)
        return Measured(chosen.metrics, chosen.run(seconds))

    return measure


@contextmanager
def _mistakes_in_one_line() -> Iterator[None]:
    from tierloop.contract.errors import UserError

    try:
        yield
    except UserError as error:
        raise pytest.fail.Exception(f"tierloop: {error}", pytrace=False) from None
