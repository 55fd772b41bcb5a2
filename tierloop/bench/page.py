"""index.html: the table of a run, and every metric over the runs before it on the same machine."""

from collections.abc import Callable, Sequence
from importlib.resources import files

import numpy as np
from matplotlib.axes import Axes

from tierloop import charts
from tierloop.bench.outputs import cells, remarks, title
from tierloop.bench.verdicts import Document, Line

HISTORY_MAX = 200
"""Runs drawn at most, the newest."""


def page(document: Document, history: Sequence[Document]) -> str:
    """The self-contained page; `history`: earlier runs, oldest first."""
    import jinja2

    runs = [*comparable(document, history), document][-HISTORY_MAX:]
    template = files("tierloop.bench").joinpath("bench.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        document=document,
        style=charts.page_style(),
        runs=len(runs),
        remarks=remarks(document),
        results=[(r, [(line, cells(r, line)) for line in r.lines]) for r in document.results],
        charts=[
            (f"{result.name}: {title(line)}", charts.draw(_over(runs, result.name, line)))
            for result in document.results
            for line in result.lines
            if line.figure.value is not None and len(runs) > 1
        ],
    )


def comparable(document: Document, history: Sequence[Document]) -> list[Document]:
    """The runs on a machine like this one's."""
    here = document.machine
    return [
        other
        for other in history
        if (other.machine.processor, other.machine.cores) == (here.processor, here.cores)
    ]


def _over(runs: Sequence[Document], benchmark: str, line: Line) -> Callable[[Axes], None]:
    """A point a run with its interval; in multiples of the bare limit where that is the budget."""
    relative = line.limit_unit == "x"

    def paint(axes: Axes) -> None:
        points = [
            (at, found)
            for at, run in enumerate(runs)
            for result in run.results
            if result.name == benchmark
            for other in result.lines
            if _same(other, line)
            and (found := other.ratio if relative else other.figure) is not None
            and found.value is not None
        ]
        at = np.array([x for x, _ in points])
        value = np.array([f.value for _, f in points], np.float64)
        low = np.array([f.value if f.low is None else f.low for _, f in points], np.float64)
        high = np.array([f.value if f.high is None else f.high for _, f in points], np.float64)
        axes.errorbar(
            at, value, np.abs(np.stack([value - low, high - value])), color=charts.SERIES[0],
            lw=1.8, marker="o", ms=3.5, elinewidth=1, capsize=2.5,
        )  # fmt: skip
        if line.limit is not None:
            axes.axhline(line.limit, color=charts.BAD, lw=1.2)
        axes.set_ylim(bottom=0)
        axes.set_xticks(range(len(runs)), [])
        axes.set_xlabel("runs, oldest first; the line is the budget")
        axes.set_ylabel("times the bare limit" if relative else line.unit)

    return paint


def _same(one: Line, other: Line) -> bool:
    keys = ("metric", "scenario", "clock", "percentile", "limit_unit")
    return all(getattr(one, key) == getattr(other, key) for key in keys)
