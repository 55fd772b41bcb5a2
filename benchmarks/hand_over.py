"""How soon does a chunk act? From its bytes at the device to the limited setpoint."""

from functools import partial

import numpy as np

from tierloop.bench.protocol import Benchmark, Series, by_turns
from tierloop.benchmarks.rig import hot
from tierloop.benchmarks.rig.callgrind import counts, metric
from tierloop.benchmarks.rig.harness import main
from tierloop.benchmarks.rig.hot_worker import cpu_us
from tierloop.contract.budget import Metric
from tierloop.contract.codec import Codec

CALLS, REPEATS = 50, 8
HAND_OVER = Metric("hand_over", "us", clock="cpu")


def bare() -> hot.Work:
    """The same bytes read in place; one row copied, checked and clipped."""
    spec = hot.policy()
    data = Codec().encode(hot.chunk(spec, hot.observation(spec, 1)))
    rows, width = spec.horizon, spec.action.size
    low, high = np.array(spec.action.low), np.array(spec.action.high)

    def work() -> np.ndarray:
        actions = np.frombuffer(data, np.float32, rows * width, len(data) - 4 * rows * width)
        row = actions.reshape(rows, width)[0].astype(np.float64)
        if not np.isfinite(row).all():
            raise ValueError("not finite")
        limited: np.ndarray = np.minimum(np.maximum(row, low), high)
        return limited

    return work


COUNTED = {metric("hand_over"): (hot.fading_hand_over, bare)}


def run(seconds: float) -> list[Series]:
    works = hot.fading_hand_over(), bare()
    measures = [partial(cpu_us, work, CALLS, REPEATS) for work in works]
    for warm in measures:
        warm()
    ours, plain = by_turns(seconds, *measures)
    return [Series(HAND_OVER, ours, plain), *counts("hand_over", COUNTED)]


BENCHMARK = Benchmark(
    "hand_over",
    "How much work is it to put a chunk from the wire into force?",
    "its bytes read in place, the first row checked and clipped",
    (HAND_OVER, *COUNTED),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
