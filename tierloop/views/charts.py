"""The charts of a report: SVG in the page's own colours, so that light and dark both work."""

import io
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from tierloop.contract.clock import NS_PER_MS, NS_PER_S, NS_PER_US
from tierloop.stack.record.record import AGE, FIRST_USE, LATENESS, Happening, Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Paint = Callable[["Axes"], None]
"""Draws one chart on its axes."""
WINDOW = 20
"""Episodes over which running success is taken."""
SIZE_IN = (5.6, 2.9)
Z_95 = 1.96

# Colours to draw with, and the page's variable that each becomes.
_INK, _FAINT, _GRID = "#010101", "#020202", "#030303"
SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005", "#0a0006", "#0a0007")
BAD = "#0b0001"
_VARIABLES = {
    _INK: "var(--ink)",
    _FAINT: "var(--faint)",
    _GRID: "var(--grid)",
    BAD: "var(--bad)",
    **{colour: f"var(--s{i})" for i, colour in enumerate(SERIES, 1)},
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tierloop",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "xtick.minor.bottom": False,
    "ytick.minor.left": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "legend.frameon": False,
}


def draw(*paints: Paint, left_in: float = 0.7, above_in: float = 0.0) -> str:
    """The SVG of charts side by side; each of `paints` draws on the axes of its own.

    `left_in`: inches kept for the labels of the y axis; `above_in`: added for a legend above.
    """
    import matplotlib
    from matplotlib.figure import Figure

    width, height = SIZE_IN[0], SIZE_IN[1] + above_in
    whole = len(paints) * width
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(whole, height))
        for at, paint in enumerate(paints):
            left, wide = at * width + left_in, width - left_in - 0.1
            frame = (left / whole, 0.46 / height, wide / whole, 1 - (0.6 + above_in) / height)
            axes = figure.add_axes(frame)
            paint(axes)
            if not np.isfinite(axes.dataLim.get_points()).all():
                axes.text(0.5, 0.5, "no data", ha="center", transform=axes.transAxes)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text[text.index("<svg") :]


def page_style() -> str:
    """The CSS of a page: its colours, light and dark, and its rules."""
    return _read("colours.css") + _read("page.css")


def standalone(svg: str) -> str:
    """The SVG with the page's colours in it, to be looked at by itself."""
    head, tail = svg.split(">", 1)
    own = "svg { background: var(--card); font-family: sans-serif; }\n"
    return f"{head}><style>{_read('colours.css')}{own}</style>{tail}"


def _read(name: str) -> str:
    return files("tierloop.views").joinpath(name).read_text(encoding="utf-8")


def success_by_version(versions: Sequence[dict[str, Any]]) -> Paint:
    """A bar a version with its 95 % Wilson interval and the episodes it rests on."""

    def paint(axes: "Axes") -> None:
        lived = [v for v in versions if v["episodes"]]
        at = np.arange(len(lived))
        rates = np.array([v["success_rate"] for v in lived])
        bounds = np.array([wilson(v["successes"], v["episodes"]) for v in lived]).reshape(-1, 2)
        axes.bar(at, rates, 0.62, color=SERIES[0])
        spread = np.abs(bounds.T - rates)
        axes.errorbar(at, rates, spread, fmt="none", ecolor=_INK, elinewidth=1, capsize=3)
        axes.set_xticks(at, [f"v{v['version']} ({v['episodes']})" for v in lived])
        axes.set_ylim(0, 1.05)
        axes.set_xlabel("policy version (episodes)")
        axes.set_ylabel("success, 95 % interval")
        axes.grid(axis="x", visible=False)

    return paint


def curve(
    axes: "Axes",
    points: Sequence[tuple[float, float | None, tuple[float, float] | None]],
    number: int,
    dash: Any = "-",
    name: str = "",
) -> None:
    """Draws a line through points (x, y, interval) where y is known, a bar where the interval is.

    `number` chooses the colour, `dash` is matplotlib's line style.
    """
    there = [(x, y, spread or (y, y)) for x, y, spread in points if y is not None]
    if not there:
        return
    x, y = np.array([p[0] for p in there]), np.array([p[1] for p in there])
    low, high = np.array([p[2] for p in there]).T
    colour = SERIES[number % len(SERIES)]
    axes.plot(x, y, color=colour, lw=1.8, ls=dash, marker="o", ms=3.5, label=name or None)
    barred = high > low
    if barred.any():
        spread = np.abs(np.stack([y - low, high - y]))[:, barred]
        axes.errorbar(
            x[barred], y[barred], spread, fmt="none", ecolor=colour, elinewidth=1, capsize=2.5
        )


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927)."""
    rate, z2 = successes / n, Z_95**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * np.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, round(centre - half, 12)), min(1.0, round(centre + half, 12))


def running_success(record: Record, versions: Sequence[dict[str, Any]], start_ns: int) -> Paint:
    """The success of the last WINDOW episodes over time; a mark where each version came alive."""

    def paint(axes: "Axes") -> None:
        ended_ns, success = record.outcomes()
        at_s = (ended_ns - start_ns) / NS_PER_S
        won = np.cumsum([0, *success.tolist()])
        ends = np.arange(1, len(success) + 1)
        begins = np.maximum(ends - WINDOW, 0)
        axes.plot(at_s, (won[ends] - won[begins]) / (ends - begins), color=SERIES[0], lw=1.8)
        for v in versions:
            if v["live_at_s"] is not None:
                axes.axvline(v["live_at_s"], color=_FAINT, lw=0.8, ls=(0, (2, 2)))
                axes.annotate(
                    f"v{v['version']}", (v["live_at_s"], 1.05), (2, 0), va="top",
                    textcoords="offset points", color=_FAINT, fontsize=8,
                )  # fmt: skip
        axes.set_ylim(0, 1.05)
        axes.set_xlim(left=0)
        axes.set_xlabel("time, s")
        axes.set_ylabel(f"success, last {WINDOW} episodes")

    return paint


_AGES = ((AGE, "at each tick", SERIES[0]), (FIRST_USE, "at first use", SERIES[1]))


def age_histogram(record: Record, validity_ms: float) -> Paint:
    """Ages on a logarithmic axis: what moves the body, and answers when they first act."""

    def paint(axes: "Axes") -> None:
        edges = np.geomspace(1, validity_ms, 70)
        for name, label, colour in _AGES:
            ages_ns, n = record.samples[name].whole().bins()
            ages = np.clip(ages_ns / NS_PER_MS, 1.0, validity_ms)
            counts, _ = np.histogram(ages, edges, weights=n)
            share = counts / max(n.sum(), 1)
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.7, label=label)
        axes.legend(loc="upper left", fontsize=8)
        axes.axvline(validity_ms, color=BAD, lw=1.2)
        axes.annotate(
            f"valid until {validity_ms:g} ms", (validity_ms, 0.97), (-4, 0), ha="right", va="top",
            xycoords=("data", "axes fraction"), textcoords="offset points", color=BAD, fontsize=8,
        )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_xlabel("age of action, ms")
        axes.set_ylabel("share of ticks, of answers")

    return paint


def lateness(record: Record, period_us: float) -> Paint:
    """The share of ticks later than x, both axes logarithmic: the tail is what matters."""

    def paint(axes: "Axes") -> None:
        late_ns, counts = record.samples[LATENESS].whole().bins()
        n = int(counts.sum())
        at = n - np.unique(np.geomspace(1, n or 1, 800).astype(int))[:n]
        late = np.maximum(late_ns / NS_PER_US, 1.0)[np.searchsorted(np.cumsum(counts), at, "right")]
        axes.plot(late, 1.0 - at / max(n, 1), color=SERIES[0], lw=1.8)
        axes.axvline(period_us, color=BAD, lw=1.2)
        axes.annotate(
            "one tick", (period_us, 0.97), (-4, 0), ha="right", va="top",
            xycoords=("data", "axes fraction"), textcoords="offset points", color=BAD, fontsize=8,
        )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(0.5 / max(n, 1), 1.5)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:g} %")
        axes.set_xlabel("lateness of a tick, µs")
        axes.set_ylabel("share of ticks at least as late")

    return paint


def energy(parts: dict[str, float]) -> Paint:
    """Joules by part, one bar each, longest first."""

    def paint(axes: "Axes") -> None:
        lines = sorted(parts.items(), key=lambda line: line[1])
        total = sum(parts.values()) or 1.0
        names, joules = [name for name, _ in lines], [value for _, value in lines]
        bars = axes.barh(names, joules, 0.62, color=SERIES[0])
        axes.bar_label(
            bars, [f"{j:,.0f} J  ({j / total:.0%})" for j in joules], padding=4, fontsize=8,
            color=_INK,
        )  # fmt: skip
        axes.set_xlim(0, 1.3 * max(joules, default=1.0) or 1.0)
        axes.set_xlabel("joules")
        axes.grid(axis="y", visible=False)

    return paint


def timeline(
    happenings: Sequence[Happening], faults: frozenset[str], start_ns: int, duration_s: float
) -> Paint:
    """A dot an event, a row a process; faults stand out."""

    def paint(axes: "Axes") -> None:
        names = sorted({h.process for h in happenings}, reverse=True)
        for bad in (False, True):
            chosen = [h for h in happenings if (h.name in faults) is bad]
            axes.scatter(
                [(h.at_ns - start_ns) / NS_PER_S for h in chosen],
                [names.index(h.process) for h in chosen],
                s=34 if bad else 16, color=BAD if bad else SERIES[0],
                marker="X" if bad else "o", clip_on=False,
            )  # fmt: skip
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlim(0, max(duration_s, 1.0))
        axes.set_xlabel("time, s")

    return paint
