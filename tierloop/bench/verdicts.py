"""From series and budgets to lines with verdicts, and one document with its exit code."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from math import isfinite

import msgspec
import numpy as np

from tierloop.bench import statistics as st
from tierloop.bench.protocol import Benchmark, Machine, Series, machine
from tierloop.bench.statistics import CONFIDENCE, Estimate, Verdict
from tierloop.contract.budget import TIMES_BARE, Budget, Metric, MetricClock
from tierloop.exit_codes import ExitCode

SCHEMA_VERSION = 2

TIMES = ("wall", "cpu")
"""The clocks whose figures are times."""

COUNTED = "its instructions are"
"""Why a time is not judged."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A percentile with its interval; null for an end that the samples do not reach."""

    value: float | None
    low: float | None
    high: float | None
    n: int


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One percentile of one metric, its baseline's, and what the budget says of it."""

    metric: str
    scenario: str
    clock: MetricClock
    unit: str
    percentile: float
    figure: Figure
    bare: Figure | None
    ratio: Figure | None
    limit: float | None
    limit_unit: str
    verdict: Verdict | None
    why: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one benchmark gave; `error` if it crashed."""

    name: str
    question: str
    bare: str
    seconds: float
    error: str
    lines: tuple[Line, ...]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run of benchmarks: what bench.json holds."""

    schema_version: int
    at: str
    machine: Machine
    confidence: float
    results: tuple[Result, ...]
    missing: tuple[str, ...]
    exit_code: int


def lines(series: Sequence[Series], budgets: Sequence[Budget]) -> tuple[Line, ...]:
    """A line for every budget on these series; a median without a verdict where there is none.

    A budget in time is not judged where there is one on the same in instructions, and these were
    counted; a time that was not measured fails nevertheless.
    """
    counted = {
        _what(one.metric): one.lacking
        for one in series
        if one.metric.clock == "instructions" and any(b.covers(one.metric) for b in budgets)
    }
    found: list[Line] = []
    for one in series:
        own = [budget for budget in budgets if budget.covers(one.metric)]
        timed = bool(own) and one.metric.clock in TIMES
        found += _lines(one, own, counted.get(_what(one.metric)) if timed else None)
    return tuple(found)


def unjudged(budgets: Sequence[Budget], why: str) -> tuple[Line, ...]:
    """A line for each budget about which this run has no figure."""
    nothing = [(Series(Metric(b.metric, b.unit, b.scenario, b.clock), ()), b) for b in budgets]
    return tuple(_unjudged(_line(series, b.percentile, b), why) for series, b in nothing)


def _lines(series: Series, budgets: Sequence[Budget], lacking: str | None) -> list[Line]:
    """`lacking`: for want of what the same was not counted in instructions; "" if it was."""
    made = [_line(series, budget.percentile, budget) for budget in budgets]
    made = made or [_line(series, 50, None)]
    if series.lacking:
        return [_unjudged(line, series.lacking) for line in made]
    if lacking == "":
        return [_unjudged(line, COUNTED) if _measured(line) else line for line in made]
    if lacking is None:
        return made
    return [
        msgspec.structs.replace(line, why="; ".join(filter(None, (f"wide: {lacking}", line.why))))
        for line in made
    ]


def _measured(line: Line) -> bool:
    judged = judged_figure(line)
    return judged is not None and judged.n > 0


def _unjudged(line: Line, why: str) -> Line:
    return msgspec.structs.replace(line, verdict=Verdict.NOT_JUDGED, why=why)


def _what(metric: Metric) -> tuple[str, str]:
    return metric.name, metric.scenario


def result(
    benchmark: Benchmark, series: Sequence[Series], budgets: Sequence[Budget], seconds: float
) -> Result:
    """What a benchmark gave; a metric that it promised and did not give is a line that fails."""
    given = {one.metric for one in series}
    absent = [Series(metric, ()) for metric in benchmark.metrics if metric not in given]
    return Result(
        name=benchmark.name, question=benchmark.question, bare=benchmark.bare,
        seconds=round(seconds, 3), error="", lines=lines([*series, *absent], budgets),
    )  # fmt: skip


def of_others(budgets: Sequence[Budget], why: str) -> Result:
    """Budgets that are about nothing that was measured, each a line that is not judged."""
    return Result(
        name="others", question="Which budgets were not judged?", bare="", seconds=0.0, error="",
        lines=unjudged(budgets, why),
    )  # fmt: skip


def crashed(benchmark: Benchmark, error: Exception, seconds: float) -> Result:
    """A benchmark that could not be run to its end."""
    lines = str(error).strip().splitlines() or [""]
    said = "".join(c for c in lines[0] if c.isprintable())
    return Result(
        name=benchmark.name, question=benchmark.question, bare=benchmark.bare,
        seconds=round(seconds, 3), lines=(),
        error=f"{type(error).__name__}: {said}",
    )  # fmt: skip


def document(results: Sequence[Result], missing: Sequence[str]) -> Document:
    """The whole, stamped with this machine and this moment."""
    return Document(
        schema_version=SCHEMA_VERSION,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        confidence=CONFIDENCE,
        results=tuple(results),
        missing=tuple(missing),
        exit_code=_exit_code(results, missing),
    )


def judged_figure(line: Line) -> Figure | None:
    """The one that the budget is about: times the baseline, or in the metric's own unit."""
    return line.ratio if line.limit_unit == TIMES_BARE else line.figure


def sentence(line: Line) -> str:
    """A line in words: metric, figure, interval, limit."""
    judged = judged_figure(line)
    name = f"{Metric(line.metric, line.unit, line.scenario)} p{line.percentile:g}"
    if judged is None or judged.value is None:
        return f"{name}: {line.why or 'no figure'}"
    unit = "x the baseline" if line.limit_unit == TIMES_BARE else f" {line.unit}"
    said = f"{name} is {judged.value:.4g}{unit}"
    if judged.low is None or judged.low != judged.high:
        ends = (f"{end:.4g}" if end is not None else "?" for end in (judged.low, judged.high))
        said += f" ({CONFIDENCE:.0%} interval {' to '.join(ends)}, n {judged.n})"
    if line.limit is not None:
        said += f", limit {line.limit:g}{unit}"
    return f"{said}: {line.why}" if line.why else said


def _line(series: Series, percentile: float, budget: Budget | None) -> Line:
    metric = series.metric
    ours, bare = _estimate(series, series.ours, percentile), None
    ratio = None
    if series.bare:
        bare = _estimate(series, series.bare, percentile)
        ratio = _ratio(series, percentile) if bare.value else None
    verdict, why = _judge(series, budget, ours, ratio)
    return Line(
        metric=metric.name, scenario=metric.scenario, clock=metric.clock, unit=metric.unit,
        percentile=percentile, figure=_figure(ours), bare=bare and _figure(bare),
        ratio=ratio and _figure(ratio), limit=budget.limit if budget else None,
        limit_unit=budget.unit if budget else "", verdict=verdict, why=why,
    )  # fmt: skip


def _judge(
    series: Series, budget: Budget | None, ours: Estimate, ratio: Estimate | None
) -> tuple[Verdict | None, str]:
    if ours.n == 0:
        return Verdict.FAIL, "no work was done: nothing was measured"
    if budget is None:
        return None, ""
    judged = ratio if budget.unit == TIMES_BARE else ours
    if judged is None:
        return Verdict.FAIL, "its baseline was not measured"
    if judged.n == 0:
        return Verdict.FAIL, "no work was done: its baseline was not measured"
    verdict = st.judge(judged, budget.limit)
    if verdict is not Verdict.INCONCLUSIVE:
        return verdict, ""
    if isfinite(judged.high):
        return verdict, "the limit lies inside the interval"
    blocks = len(series.ours)
    cut = series.known is None and blocks < st.BLOCKS_MIN
    few = f"blocks ({blocks} of {st.BLOCKS_MIN})" if cut else "samples"
    return verdict, f"too few {few} for p{budget.percentile:g}"


def _estimate(series: Series, blocks: st.Blocks, percentile: float) -> Estimate:
    if series.known is not None:
        return series.known
    if not _is_whole(series):
        return st.widened(st.percentile(blocks, percentile), _spread(series))
    pooled = np.concatenate(blocks) if blocks else np.empty(0)
    if not len(pooled):
        return Estimate(np.nan, np.nan, np.nan, 0)
    whole = _whole(float(np.percentile(pooled, percentile)), len(pooled), percentile)
    return st.widened(whole, _spread(series))


def _ratio(series: Series, percentile: float) -> Estimate:
    if not _is_whole(series):
        return st.widened(st.ratio(series.ours, series.bare, percentile), _spread(series))
    ours, bare = (_estimate(series, side, percentile) for side in (series.ours, series.bare))
    whole = _whole(ours.value / bare.value, min(ours.n, bare.n), percentile)
    return st.widened(whole, _spread(series))


def _is_whole(series: Series) -> bool:
    """Whether chance had no hand in the figure, but which process it came from."""
    return series.exact or series.metric.clock == "instructions"


def _spread(series: Series) -> float:
    """How far the figure of another process may lie."""
    if series.metric.clock == "instructions":
        return st.COUNT_SPREAD
    return 0.0 if series.exact or series.fresh else st.PROCESS_SPREAD


def _whole(value: float, n: int, percentile: float) -> Estimate:
    """An exact figure; but a percentile that fewer samples than 1 / (1 - p) cannot show is open.

    A single figure, as of a size, is every percentile of itself.
    """
    if n > 1 and n * (100 - percentile) < 100 and percentile < 100:
        return Estimate(value, -np.inf, np.inf, n)
    return st.exact(value, n)


def _figure(estimate: Estimate) -> Figure:
    value, low, high = (
        float(f"{x:.6g}") if isfinite(x) else None
        for x in (estimate.value, estimate.low, estimate.high)
    )
    return Figure(value=value, low=low, high=high, n=estimate.n)


def exit_code(verdicts: Collection[Verdict | None]) -> int:
    """3 if one fails, 4 if one cannot be told."""
    if Verdict.FAIL in verdicts:
        return ExitCode.BROKEN
    return ExitCode.INCONCLUSIVE if Verdict.INCONCLUSIVE in verdicts else ExitCode.FINE


def _exit_code(results: Sequence[Result], missing: Sequence[str]) -> int:
    verdicts = {line.verdict for result in results for line in result.lines}
    if any(result.error for result in results):
        return ExitCode.FAILED
    return ExitCode.BROKEN if missing or not verdicts else exit_code(verdicts)
