"""What is it worth to act on late answers with care? Success and age by delay and way of acting.

    python -m tierloop.benchmarks.late_answers --policy policy-*.artefact --svg late-answers.svg

The sorting cell's arm with its own node, on a clock turned by hand: each observation takes the
stated time to the policy, its answer as long again, and nothing else differs. The policy's
horizon must reach beyond twice the longest delay, so that no answer comes too late to be used at
all: then it is the way of acting that is compared, not the ladder.
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tierloop.bench.bench_command import console
from tierloop.bench.protocol import Benchmark, Series
from tierloop.benchmarks.rig import markdown
from tierloop.benchmarks.rig.late import ActingCase, LivedCase, arguments, live_all
from tierloop.benchmarks.rig.teach import taught
from tierloop.contract.budget import Metric
from tierloop.device.config import ActingConfig
from tierloop.link.spec import LinkSpec
from tierloop.views import charts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DELAYS_MS = (0.0, 18.0, 37.0, 63.0, 100.0, 118.0, 163.0, 213.0, 290.0)
"""One way. Twice 100 ms are whole periods of decision: there anchored answers beat (docs)."""
JITTER_MS = (18.0, 50.0, 120.0, 250.0)
"""Median, p90, p99 and the longest of the jitter, each way; the delay besides is less by the
median."""
SWING = 0.3
BESIDE_MS = 1.5
"""In the picture, points of one delay stand so far beside each other."""
WAYS = {
    "naive": ActingConfig(anchor="arrival", predict=False, blend_ms=0),
    "anchored": ActingConfig(anchor="capture", predict=False, blend_ms=0),
    "anchored, predicted": ActingConfig(anchor="capture", predict=True, blend_ms=0),
    "anchored, predicted, blended": ActingConfig(),
}

LATE_MS, EPISODES = 100.0, 100
"""In the suite: within the horizon both ways, and enough to tell one way of acting from another."""
SUITE = ("anchored, predicted, blended", "anchored", "naive")
FAILED = {
    way: Metric("failed_when_late", "share", f"{way}, {LATE_MS:g} ms one way", "virtual")
    for way in SUITE
}


class Condition(NamedTuple):
    """What the link and the belt are like, whatever the delay."""

    name: str
    jitter: bool = False
    belt_swing: float = 0.0

    def case(self, way: str, delay_ms: float) -> ActingCase:
        """A way of acting at this median delay, one way."""
        p50_ms, p90_ms, p99_ms, max_ms = JITTER_MS
        link = LinkSpec(delay_ms=delay_ms)
        if self.jitter:
            link = LinkSpec(
                delay_ms=delay_ms - p50_ms, jitter_p50_ms=p50_ms, jitter_p90_ms=p90_ms,
                jitter_p99_ms=p99_ms, jitter_max_ms=max_ms,
            )  # fmt: skip
        return ActingCase(WAYS[way], link, self.belt_swing)


CONDITIONS = (
    Condition("constant delay"),
    Condition("with jitter", jitter=True),
    Condition(f"with jitter, belt ± {SWING:.0%}", jitter=True, belt_swing=SWING),
)


class Point(NamedTuple):
    """A place in the table."""

    condition: Condition
    way: str
    delay_ms: float

    @property
    def case(self) -> ActingCase:
        return self.condition.case(self.way, self.delay_ms)


def points(delays_ms: list[float], conditions: tuple[Condition, ...] = CONDITIONS) -> list[Point]:
    """All points; those with jitter begin where its median is the whole delay."""
    return [
        Point(condition, way, delay_ms)
        for condition in conditions
        for way in WAYS
        for delay_ms in delays_ms
        if not condition.jitter or delay_ms >= JITTER_MS[0]
    ]


def run(_seconds: float) -> list[Series]:
    constant = CONDITIONS[0]
    cases = {(way, ms): constant.case(way, ms) for way in SUITE for ms in (0.0, LATE_MS)}
    lived = live_all(cases.values(), (taught(),), EPISODES, 2, None)

    def failed(way: str, delay_ms: float) -> tuple[np.ndarray]:
        return (np.array([1 - lived[cases[way, delay_ms]].successes / EPISODES]),)

    return [
        Series(metric, failed(way, LATE_MS), failed(way, 0.0), exact=True)
        for way, metric in FAILED.items()
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "--delays", default=",".join(f"{d:g}" for d in DELAYS_MS), help="one way, ms"
    )
    parser.add_argument("--constant", action="store_true", help="without jitter and swinging belt")
    parser.add_argument("--why", action="store_true", help="also why episodes failed")
    parser.add_argument("--svg", type=Path, help="draw the success into this file")
    args = parser.parse_args()
    conditions = CONDITIONS[:1] if args.constant else CONDITIONS
    wanted = points([float(d) for d in args.delays.split(",")], conditions)
    blobs, screen = [path.read_bytes() for path in args.policy], console()
    cases = live_all([p.case for p in wanted], blobs, args.episodes, args.jobs, screen)
    lived = {point: cases[point.case] for point in wanted}
    for condition in dict.fromkeys(p.condition for p in wanted):
        print(f"\n**{condition.name.capitalize()}**\n")
        print(table({p: w for p, w in lived.items() if p.condition is condition}))
    if args.why:
        for point, what in lived.items():
            screen.print(point.condition.name, point.way, point.delay_ms, Counter(what.reasons))
    if args.svg:
        args.svg.write_text(charts.standalone(picture(lived)), encoding="utf-8")


def table(lived: dict[Point, LivedCase]) -> str:
    """The points of one condition, one a line."""
    heads = (
        "acting", "one way, ms", "sorted", "95 %", "age p50, ms", "p99", "oldest p50",
        "first use p50",
    )  # fmt: skip
    return markdown.table(heads, (line(point, what) for point, what in lived.items()))


def line(point: Point, what: LivedCase) -> tuple[str, ...]:
    """Of the table; the interval is of 95 %, ages are in milliseconds."""
    low, high = charts.wilson(what.successes, what.episodes)
    (age, oldest), (age_p99, _) = np.percentile(what.ages_ms, (50, 99), axis=0)
    return (
        point.way, f"{point.delay_ms:g}",
        f"{what.successes / what.episodes:.2f}", f"{low:.2f} to {high:.2f}",
        f"{age:.0f}", f"{age_p99:.0f}", f"{oldest:.0f}", f"{np.median(what.first_use_ms):.0f}",
    )  # fmt: skip


def picture(lived: dict[Point, LivedCase]) -> str:
    """Success against the delay, an SVG: a chart a condition, a curve a way of acting."""
    shown = list(dict.fromkeys(point.condition for point in lived))

    def paint(condition: Condition) -> charts.Paint:
        def paints(axes: "Axes") -> None:
            for number, way in enumerate(WAYS):
                line = [
                    (
                        p.delay_ms + BESIDE_MS * number,
                        w.successes / w.episodes,
                        charts.wilson(w.successes, w.episodes),
                    )
                    for p, w in lived.items()
                    if (p.condition, p.way) == (condition, way)
                ]
                charts.curve(axes, line, number, name=way)
            axes.set_ylim(0, 1.05)
            axes.set_xlabel(f"one way, ms: {condition.name}")
            axes.set_ylabel("sorted (95 % interval)")
            if condition is shown[0]:
                axes.legend(ncols=2, fontsize=8, loc="lower left", bbox_to_anchor=(0.0, 1.0))

        return paints

    return charts.draw(*map(paint, shown), above_in=0.4)


BENCHMARK = Benchmark(
    "late_answers",
    "What do answers that come late cost the sorting cell, acted on with care and naively?",
    "the same way of acting on answers that come at once",
    tuple(FAILED.values()),
    run,
    long=True,
)

if __name__ == "__main__":
    main()
