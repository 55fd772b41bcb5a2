"""index.html: how near each figure is to its budget, now and in the runs on machines like this."""

from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tierloop.bench.statistics import Verdict
from tierloop.bench.verdicts import Document, Figure, Line, judged_figure
from tierloop.bench.words import number, remarks, title
from tierloop.contract.budget import Metric
from tierloop.views import charts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HISTORY_MAX = 200
"""Runs drawn at most, the newest."""

BAR_MAX = 1.25
"""Of the budget: where a bar ends; what is beyond ends there too."""

SPARK_WIDTH, SPARK_HEIGHT = 96.0, 22.0


class Row(NamedTuple):
    """A line of the page's table. `bar`: figure, low and high as percentages of the bar's width."""

    line: Line
    metric: str
    figure: str
    interval: str
    bare: str
    times: str
    share: float | None
    bar: tuple[float, float, float] | None
    spark: str


def page(document: Document, history: Sequence[Document]) -> str:
    """The self-contained page; `history`: earlier runs, oldest first."""
    import jinja2

    runs = [*comparable(document, history), document][-HISTORY_MAX:]
    template = files("tierloop.bench").joinpath("bench.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    rows = [(r, [row(runs, r.name, line) for line in r.lines]) for r in document.results]
    every = [one for _, own in rows for one in own]
    return environment.from_string(template).render(
        document=document,
        style=charts.page_style(),
        runs=len(runs),
        remarks=remarks(document),
        results=rows,
        counts=[str(one.line.verdict or "no budget") for one in every],
        nearest=max(every, key=lambda one: one.share or 0.0, default=None),
        tick=100 / BAR_MAX,
        charts={
            result.name: [(title(line), charts.draw(_chart(runs, result.name, line)))
                          for line in result.lines if line.figure.value is not None]
            for result in document.results if len(runs) > 1
        },
    )  # fmt: skip


def comparable(document: Document, history: Sequence[Document]) -> list[Document]:
    """The runs on a machine like this one's."""
    here = document.machine
    return [
        other
        for other in history
        if (other.machine.processor, other.machine.cores) == (here.processor, here.cores)
    ]


def row(runs: Sequence[Document], benchmark: str, line: Line) -> Row:
    """What the table shows of a line."""
    judged = judged_figure(line)
    share = bar = None
    judging = line.verdict is not Verdict.NOT_JUDGED
    if judging and line.limit and judged is not None and judged.value is not None:
        share = judged.value / line.limit
        limit = line.limit
        value, low, high = (100 * min(x / limit, BAR_MAX) / BAR_MAX for x in _span(judged))
        bar = value, low, high
    found = line.figure
    return Row(
        line=line,
        metric=str(Metric(line.metric, line.unit, line.scenario)),
        figure=f"{number(found.value)} {line.unit}",
        interval="" if found.low == found.high else f"{number(found.low)} to {number(found.high)}",
        bare=f"{number(line.bare.value)} {line.unit}" if line.bare else "",
        times=f"{number(line.ratio.value)} x" if line.ratio else "",
        share=share,
        bar=bar,
        spark=_spark([f.value for _, f in _over(runs, benchmark, line)], line.limit),
    )


def _spark(values: Sequence[float | None], limit: float | None) -> str:
    """A small line over the runs, from nothing up to the greater of the budget and the worst."""
    known = np.array([value for value in values if value is not None])
    if len(known) < 2:
        return ""
    top = max(float(known.max()), limit or 0.0) or 1.0
    at = np.linspace(2, SPARK_WIDTH - 2, len(known))
    height = SPARK_HEIGHT - 2 - np.array([*known, limit or 0.0]) / top * (SPARK_HEIGHT - 4)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(at, height[:-1], strict=True))
    budget = f'<path class="limit" d="M0 {height[-1]:.1f}H{SPARK_WIDTH:g}"/>' if limit else ""
    last = f'<circle cx="{at[-1]:.1f}" cy="{height[-2]:.1f}" r="2"/>'
    box = f'viewBox="0 0 {SPARK_WIDTH:g} {SPARK_HEIGHT:g}"'
    return f'<svg class="spark" {box}>{budget}<polyline points="{points}"/>{last}</svg>'


def _over(runs: Sequence[Document], benchmark: str, line: Line) -> list[tuple[int, Figure]]:
    """The same line in every run that has a figure for it, by the run's number."""
    return [
        (at, found)
        for at, run in enumerate(runs)
        for result in run.results
        if result.name == benchmark
        for other in result.lines
        if _same(other, line)
        and (found := judged_figure(other)) is not None
        and found.value is not None
    ]


def _chart(runs: Sequence[Document], benchmark: str, line: Line) -> charts.Paint:
    """A point a run with its interval; in multiples of the baseline where that is the budget."""

    def paint(axes: "Axes") -> None:
        points = _over(runs, benchmark, line)
        at = np.array([x for x, _ in points])
        value, low, high = np.array([_span(f) for _, f in points]).reshape(-1, 3).T
        axes.errorbar(
            at, value, np.abs(np.stack([value - low, high - value])), color=charts.SERIES[0],
            lw=1.8, marker="o", ms=3.5, elinewidth=1, capsize=2.5,
        )  # fmt: skip
        top = float(np.max(high, initial=0.0))
        if line.limit is not None:
            axes.axhline(line.limit, color=charts.BAD, lw=1.2)
            top = max(top, line.limit)
        axes.set_ylim(0, 1.1 * top or 1.0)
        axes.set_xlim(-0.5, len(runs) - 0.5)
        first, last = (runs[k].at[:16].replace("T", " ") for k in (0, -1))
        axes.set_xticks([0, len(runs) - 1], ["", ""])
        axes.set_xlabel(f"runs from {first} to {last} UTC")
        axes.set_ylabel("times the baseline" if line.limit_unit == "x" else line.unit)

    return paint


def _span(figure: Figure) -> tuple[float, float, float]:
    """Value, low and high; an end that the samples do not reach is the value itself."""
    assert figure.value is not None
    low = figure.value if figure.low is None else figure.low
    return figure.value, low, figure.value if figure.high is None else figure.high


def _same(one: Line, other: Line) -> bool:
    keys = ("metric", "scenario", "clock", "percentile", "limit_unit")
    return all(getattr(one, key) == getattr(other, key) for key in keys)
