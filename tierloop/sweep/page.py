"""What a sweep leaves to look at: three charts as one SVG, and a page with them and the table."""

from collections.abc import Callable, Sequence
from importlib.resources import files
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from tierloop.sweep.grid import Grid
from tierloop.sweep.table import HEADS, TableLine, texts
from tierloop.views import charts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pick = Callable[[TableLine], tuple[float | None, tuple[float, float] | None]]

WIDE = 30
"""Largest value over the smallest, from which on an axis is logarithmic."""
LEFT_IN, LINE_IN = 0.85, 0.17
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)))


class Chart(NamedTuple):
    """A figure of the lines; `bounded` ones are shares, from 0 to 1.

    `wide` ones may differ by orders of magnitude, and are then drawn on a logarithmic axis.
    """

    title: str
    label: str
    figures: tuple[Pick, ...]
    bounded: bool = False
    wide: bool = False


CHARTS = (
    Chart("Success", "success (95 % interval)", (lambda o: (o.success, o.success_interval),), True),
    Chart(
        "Age of action",
        "age of action, ms (p50; dashed p90)",
        (
            lambda o: (o.age_p50_ms, o.age_p50_interval),
            lambda o: (o.age_p90_ms, o.age_p90_interval),
        ),
    ),
    Chart(
        "Energy",
        "energy per success, J (95 % interval)",
        (lambda o: (o.joules_per_success, o.joules_interval),),
        wide=True,
    ),
)


def figure(grid: Grid, found: Sequence[TableLine]) -> str:
    """A self-contained SVG of all charts side by side."""
    paints = (_paint(chart, grid, found) for chart in CHARTS)
    return charts.standalone(charts.draw(*paints, left_in=LEFT_IN, above_in=_legend_in(grid)))


def page(title: str, command: str, grid: Grid, found: Sequence[TableLine]) -> str:
    """The self-contained page of a sweep, HTML."""
    import jinja2

    template = files("tierloop.sweep").joinpath("sweep.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        title=title,
        command=command,
        style=charts.page_style(),
        charts=[
            (
                c.title,
                charts.draw(_paint(c, grid, found), left_in=LEFT_IN, above_in=_legend_in(grid)),
            )
            for c in CHARTS
        ],
        heads=[*(axis.key for axis in grid.axes), *HEADS],
        keys=len(grid.axes),
        rows=[(*one.values, *texts(one)) for one in found],
        episodes=sum(one.episodes for one in found),
        violations=sum(one.violations for one in found),
    )


def _legend_in(grid: Grid) -> float:
    """The height of a legend with a head and a line for each curve."""
    curves = prod(len(axis.values) for axis in grid.axes) // len(grid.axes[_along(grid)].values)
    return LINE_IN * (1 + curves) if len(grid.axes) > 1 else 0.0


def _along(grid: Grid) -> int:
    """The key that runs along the x axis: the first that is numeric."""
    return next((i for i, axis in enumerate(grid.axes) if axis.numbers), 0)


def _paint(chart: Chart, grid: Grid, found: Sequence[TableLine]) -> charts.Paint:
    """One line of the chart for each combination of what is swept besides the x axis."""
    at = _along(grid)
    along = grid.axes[at]
    places = dict(zip(along.values, along.numbers or range(len(along.values)), strict=True))
    others = [i for i in range(len(grid.axes)) if i != at]
    series = list(dict.fromkeys(tuple(one.values[i] for i in others) for one in found))

    def paint(axes: "Axes") -> None:
        for number, of in enumerate(series):
            mine = [one for one in found if tuple(one.values[i] for i in others) == of]
            mine.sort(key=lambda one: places[one.values[at]])
            name = ", ".join(of)
            for nth, take in enumerate(chart.figures):
                points = [(places[one.values[at]], *take(one)) for one in mine]
                charts.curve(axes, points, number, DASHES[nth], name if nth == 0 else "")
        if not along.numbers:
            axes.set_xticks(range(len(along.values)), along.values)
        values = [y for one in found for take in chart.figures if (y := take(one)[0])]
        if chart.wide and values and max(values) > WIDE * min(values):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
        else:
            axes.set_ylim(0, 1.05 if chart.bounded else None)
        axes.set_xlabel(along.key)
        axes.set_ylabel(chart.label)
        if others:
            keys = ", ".join(grid.axes[i].key for i in others)
            axes.legend(
                title=keys, fontsize=8, title_fontsize=8, alignment="left", borderaxespad=0.2,
                loc="lower left", bbox_to_anchor=(0.0, 1.0),
            )  # fmt: skip

    return paint
