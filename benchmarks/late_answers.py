"""What is it worth to act on late answers with care? Success by one-way delay and way of acting.

    python -m tierloop.benchmarks.late_answers --policy policy.artefact

The sorting cell's arm with its own node, on a clock turned by hand: each observation reaches the
policy one delay later, its answer comes back another delay later, and nothing else differs. The
policy's horizon must reach beyond twice the longest delay, so that no answer comes too late to
be used at all: then it is the way of acting that is compared, not the ladder.
"""

import argparse
import multiprocessing
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track
from rich.table import Table

from tierloop.bench.bench_command import console
from tierloop.bench.protocol import Benchmark, Series
from tierloop.bench.statistics import Samples
from tierloop.benchmarks.rig.teach import taught
from tierloop.contract.budget import Metric
from tierloop.contract.clock import NS_PER_MS
from tierloop.contract.counters import RUNG_S, member
from tierloop.contract.ledger import INDEX
from tierloop.contract.messages import Observation
from tierloop.contract.specs import FloatArray
from tierloop.device.config import ActingConfig, DeviceConfig
from tierloop.device.unlinked import Unlinked
from tierloop.policy.artefact import unpack
from tierloop.policy.engine import load
from tierloop.sim.embody import embody
from tierloop.sim.scenario import Scenario
from tierloop.views.charts import wilson

DELAYS_MS = (0, 25, 50, 100, 150, 200, 300)
WAYS = {
    "naive": ActingConfig(anchor="arrival", predict=False, blend_ms=0),
    "anchored": ActingConfig(anchor="capture", predict=False, blend_ms=0),
    "anchored, blended": ActingConfig(anchor="capture", predict=False, blend_ms=100),
    "anchored, predicted": ActingConfig(anchor="capture", predict=True, blend_ms=0),
    "anchored, predicted, blended": ActingConfig(anchor="capture", predict=True, blend_ms=100),
}
EPISODES_A_CELL = 25

LATE_MS, EPISODES = 100.0, 100
"""In the suite: within the horizon both ways, and enough to tell one way of acting from another."""
NAIVE, CARE = "naive", "anchored, predicted, blended"
FAILED = {
    way: Metric("failed_when_late", "share", f"{way}, {LATE_MS:g} ms one way", "virtual")
    for way in (CARE, NAIVE)
}


class Point(NamedTuple):
    """One way of acting at one delay, in one cell."""

    way: str
    acting: ActingConfig
    delay_ms: float
    episodes: int
    seed: int


class PointResult(NamedTuple):
    """What came of a point: `age_ms` p50 of the actions that acted, `still_s` without one."""

    point: Point
    successes: int
    age_ms: float
    seam_rad: float
    still_s: float
    reasons: tuple[str, ...]


def live(point: Point, blob: bytes) -> PointResult:
    """Lives through a point's episodes in one cell."""
    policy = load(unpack(blob))
    scenario = Scenario(horizon=policy.spec.horizon)
    robot = embody(scenario, point.seed)
    device = Unlinked("arm", 1, robot, DeviceConfig(acting=point.acting), "benchmark")
    under_way: deque[tuple[int, Observation, FloatArray]] = deque()
    judged: list[tuple[bool, str]] = []
    seams: list[float] = []
    late_ns, period_ns = round(2 * point.delay_ms * NS_PER_MS), robot.body.spec.control_period_ns
    now_ns = 0
    while len(judged) < point.episodes:
        now_ns += period_ns
        while under_way and under_way[0][0] <= now_ns:
            device.answer(now_ns, *under_way.popleft()[1:], policy.version)
            seams.append(device.node.arbiter.seam_rad)
        asked = device.tick(now_ns)
        judged += [(e.success, e.reason) for e in device.reading.outcomes]
        if asked is not None:
            rows = policy.act(asked.features[np.newaxis])[0]
            under_way.append((now_ns + late_ns, asked, rows))
    robot.body.close()
    report = device.node.report(now_ns, last=True)
    acted = report.decisions[report.decisions[:, INDEX["applied_ns"]] > 0]
    ages_ns = acted[:, INDEX["applied_ns"]] - acted[:, INDEX["captured_ns"]]
    del judged[point.episodes :]
    return PointResult(
        point, sum(ok for ok, _ in judged), float(np.median(ages_ns)) / NS_PER_MS,
        float(np.mean(seams)), sum(report.counters[member(RUNG_S, r)] for r in ("hold", "stop")),
        tuple(reason for _, reason in judged),
    )  # fmt: skip


def points(names: Sequence[str], delays_ms: Sequence[float], episodes: int) -> list[Point]:
    """What is to be lived through, split among cells."""
    return [
        Point(name, WAYS[name], delay, min(EPISODES_A_CELL, episodes - first), first)
        for name in names
        for delay in delays_ms
        for first in range(0, episodes, EPISODES_A_CELL)
    ]


def run(_seconds: float) -> list[Series]:
    wanted = points((CARE, NAIVE), (0.0, LATE_MS), EPISODES)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        lived = list(pool.map(live, wanted, [taught()] * len(wanted)))

    def failed(way: str, delay_ms: float) -> tuple[Samples]:
        ok = sum(x.successes for x in _at(lived, way, delay_ms))
        return (np.array([1 - ok / EPISODES]),)

    return [
        Series(metric, failed(way, LATE_MS), failed(way, 0.0), exact=True)
        for way, metric in FAILED.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--policy", type=Path, required=True, help="artefact of the sorting cell")
    parser.add_argument("--episodes", type=int, default=100, help="episodes a point")
    parser.add_argument("--delays", default=",".join(map(str, DELAYS_MS)), help="one way, ms")
    parser.add_argument("--ways", default="", help="some of the ways, by their number from 0")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--why", action="store_true", help="also why episodes failed")
    args = parser.parse_args()
    blob = args.policy.read_bytes()
    names = list(WAYS) if not args.ways else [list(WAYS)[int(n)] for n in args.ways.split(",")]
    delays = [float(d) for d in args.delays.split(",")]
    wanted = points(names, delays, args.episodes)
    screen = console()
    with ProcessPoolExecutor(args.jobs) as pool:
        done = pool.map(live, wanted, [blob] * len(wanted))
        lived = list(track(done, "Living", len(wanted), console=screen, transient=True))
    screen.print(_table(lived, names, delays))
    if args.why:
        for name in names:
            for delay in delays:
                mine = [r for x in _at(lived, name, delay) for r in x.reasons]
                screen.print(name, delay, {r: mine.count(r) for r in sorted(set(mine))})


def _at(lived: Iterable[PointResult], way: str, delay_ms: float) -> list[PointResult]:
    return [x for x in lived if x.point.way == way and x.point.delay_ms == delay_ms]


def _table(lived: list[PointResult], names: list[str], delays_ms: list[float]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("acting", "one way ms", "success", "95 %", "age p50 ms", "seam mrad", "still s"):
        table.add_column(title, justify="left" if title == "acting" else "right")
    for name in names:
        for delay_ms in delays_ms:
            cells = _at(lived, name, delay_ms)
            n, ok = sum(x.point.episodes for x in cells), sum(x.successes for x in cells)
            low, high = wilson(ok, n)
            table.add_row(
                name, f"{delay_ms:g}", f"{ok / n:.2f}", f"{low:.2f}-{high:.2f}",
                f"{np.mean([x.age_ms for x in cells]):.0f}",
                f"{1e3 * np.mean([x.seam_rad for x in cells]):.1f}",
                f"{sum(x.still_s for x in cells):.1f}",
            )  # fmt: skip
    return table


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
