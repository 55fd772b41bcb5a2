"""`tierloop compare BASE HEAD`: times the hot paths of both in turn and says if HEAD is slower.

Each side runs its own hot paths with its own worker (hot_paths.py). Base and head run in pairs of
fresh processes on one core, which take turns of a few milliseconds of processor time. Each pair
gives one ratio; the pairs are what the test counts, since memory lies differently in every
process. A benchmark fails if the mean ratio is beyond 1 + TOLERANCE by Student's test, with Holm's
correction over the benchmarks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import msgspec
import numpy as np
import scipy  # its parts load when they are used

from tierloop.bench import statistics as st
from tierloop.bench.checkout import Side
from tierloop.bench.hot_paths import CannotRunError, HotWorker
from tierloop.bench.statistics import Verdict

TOLERANCE = 0.05
"""A head that is slower by less is not called slower."""

ALPHA = 0.01
"""The chance of any false alarm in one comparison stays below it, if pairs are independent."""

PAIRS = 8
TURNS, REPEATS = 8, 4
BLOCK_US = 2000.0
"""One repeat takes about this long."""

QUANTILE = 25.0
"""Of a process's repeats: a disturbance makes one longer, so that the low ones tell most."""

Progress = Callable[[str], None]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark: microseconds at the base, ratio head to base with its interval, verdict."""

    name: str
    base_us: float
    ratio: float
    low: float
    high: float
    pairs: int
    verdict: Verdict
    why: str


def compare(
    base: Side, head: Side, names: Sequence[str], pairs: int = PAIRS, tell: Progress | None = None
) -> list[Compared]:
    """A verdict for each hot path: one that runs at the base and not at the head fails."""
    levels: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    failed: dict[str, tuple[Verdict, str]] = {}
    for number in range(pairs):
        if tell:
            tell(f"pair {number + 1} of {pairs}")
        with _workers((base, head) if number % 2 == 0 else (head, base)) as workers:
            first, second = workers if number % 2 == 0 else workers[::-1]
            for name in names:
                if name not in failed:
                    try:
                        calls = _calls(first, name)
                        levels[name].append(_pair(first, second, name, calls))
                    except CannotRunError as error:
                        at_base = error.worker is first
                        verdict = Verdict.INCONCLUSIVE if at_base else Verdict.FAIL
                        failed[name] = (verdict, f"does not run at {error}")
    return compared(levels, failed)


def compared(
    levels: dict[str, list[tuple[float, float]]], failed: dict[str, tuple[Verdict, str]]
) -> list[Compared]:
    """From microseconds of base and head, pair by pair; of what did not run, what is known."""
    logs = {name: np.diff(np.log(found), axis=1)[:, 0] for name, found in levels.items()
            if found and name not in failed}  # fmt: skip
    limit = 1 + TOLERANCE
    slower = st.holm([st.above(one, limit) for one in logs.values()], ALPHA)
    found = [
        _compared(name, one, float(np.median(np.array(levels[name])[:, 0])), is_slower)
        for (name, one), is_slower in zip(logs.items(), slower, strict=True)
    ]
    nothing = float("nan")
    return found + [
        Compared(
            name=name, base_us=nothing, ratio=nothing, low=nothing, high=nothing, pairs=0,
            verdict=verdict, why=why,
        )
        for name, (verdict, why) in failed.items()
    ]  # fmt: skip


def _compared(name: str, logs: st.Samples, base_us: float, slower: bool) -> Compared:
    mean, n = float(logs.mean()), len(logs)
    spread = float(logs.std(ddof=1)) / n**0.5 if n > 1 else np.inf
    half = float(scipy.stats.t.ppf(1 - ALPHA / 2, n - 1)) * spread if n > 1 else np.inf
    low, high = np.exp([mean - half, mean + half])
    verdict, why = Verdict.INCONCLUSIVE, _unclear(low, high)
    if slower:
        verdict, why = Verdict.FAIL, ""
    elif high <= 1 + TOLERANCE:
        verdict, why = Verdict.PASS, ""
    return Compared(
        name=name, base_us=base_us, ratio=float(np.exp(mean)), low=float(low), high=float(high),
        pairs=n, verdict=verdict, why=why,
    )  # fmt: skip


def _unclear(low: float, high: float) -> str:
    interval = f"takes {low:.3f} to {high:.3f} times as long as at the base"
    return f"{interval}; the limit is {1 + TOLERANCE:g}; more --pairs narrow the interval"


def _calls(base: HotWorker, name: str) -> int:
    """So many take BLOCK_US at the base."""
    return max(1, round(BLOCK_US / float(np.median(base.us(name, 10, 3)))))


def _pair(base: HotWorker, head: HotWorker, name: str, calls: int) -> tuple[float, float]:
    """Microseconds of both, from turns in the order base, head, head, base."""
    head.us(name, calls, 1)
    found: dict[HotWorker, list[float]] = {base: [], head: []}
    for turn in range(TURNS):
        for worker in (base, head) if turn % 2 == 0 else (head, base):
            found[worker] += worker.us(name, calls, REPEATS)
    low = [float(np.percentile(found[worker], QUANTILE)) for worker in (base, head)]
    return low[0], low[1]


@contextmanager
def _workers(sides: Sequence[Side]) -> Iterator[list[HotWorker]]:
    with ExitStack() as stack:
        workers = []
        for side in sides:
            workers.append(worker := HotWorker(side))
            stack.callback(worker.close)
        yield workers
