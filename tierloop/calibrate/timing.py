"""Times jobs of this machine: what is timed, in which order, and what the samples come to."""

import time
from collections.abc import Callable, Sequence
from math import log
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from tierloop.calibrate.disturbance import HostWatch
from tierloop.contract.policy import Work

BLOCKS = 6
"""Every probe is timed once a block, so that a slow moment of the machine hits all alike; the
first block only warms up."""
P90 = 1.2816
"""Standard deviations from the median of a normal distribution to its 90th percentile."""
FACTOR_MIN = 1.05


class TimedJob(NamedTuple):
    """`run` does `rows` rows of a job; `calls` times in each block of a measurement.

    `network` and `work` say which network answers, where one does.
    """

    job: str
    rows: int
    engine: str
    run: Callable[[], object]
    calls: int
    network: str = ""
    work: Work | None = None


class Timing(NamedTuple):
    """One probe's samples in microseconds a call, one array a block."""

    probe: TimedJob
    blocks_us: tuple[np.ndarray, ...]

    @property
    def median_us(self) -> float:
        return float(np.median(np.concatenate(self.blocks_us)))

    @property
    def jitter(self) -> float:
        """Of the log-normal with this median and 90th percentile."""
        samples = np.concatenate(self.blocks_us)
        return max(0.0, log(np.percentile(samples, 90) / np.median(samples))) / P90

    @property
    def factor(self) -> float:
        """How far apart the blocks' medians lie."""
        medians = [float(np.median(block)) for block in self.blocks_us]
        return max(FACTOR_MIN, max(medians) / min(medians))


def measure(todo: Sequence[TimedJob], console: Console, watch: HostWatch) -> list[Timing]:
    """Times the probes in blocks, in alternating order; looks at the machine before each."""
    found: list[list[np.ndarray]] = [[] for _ in todo]
    for block in track(range(BLOCKS), "Measuring", console=console, transient=True):
        watch.begin_block()
        order = range(len(todo)) if block % 2 == 0 else reversed(range(len(todo)))
        for i in order:
            watch.look()
            found[i].append(_block(todo[i]))
    return [Timing(p, tuple(blocks[1:])) for p, blocks in zip(todo, found, strict=True)]


def _block(probe: TimedJob) -> np.ndarray:
    samples = np.empty(probe.calls)
    for i in range(probe.calls):
        begun_ns = time.perf_counter_ns()
        probe.run()
        samples[i] = (time.perf_counter_ns() - begun_ns) / 1e3
    return samples
