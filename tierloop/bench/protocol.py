"""What every benchmark is: a question, its baseline measured beside it, figures in blocks."""

import platform
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from tierloop.bench.statistics import Blocks, Estimate, Samples
from tierloop.contract.budget import Metric
from tierloop.contract.version import __version__
from tierloop.stack.machine import processors
from tierloop.stack.record.summary import processor


class Series(NamedTuple):
    """The samples of a metric. `bare`: those of the baseline, block k measured beside block k.

    `exact`: the samples are the figure itself, without spread, as sizes and virtual runs are.
    `known`: the figure with its interval, where it is no percentile of samples.
    `fresh`: each block is of processes of its own, or the samples are all that is spoken of;
    otherwise one process gave all blocks, and another would give other figures.
    `lacking`: what the machine lacks to measure it.
    """

    metric: Metric
    ours: Blocks
    bare: Blocks = ()
    exact: bool = False
    known: Estimate | None = None
    fresh: bool = False
    lacking: str = ""


class Benchmark(NamedTuple):
    """`run(seconds)` measures for about that long, preparations apart, in blocks by turns."""

    name: str
    question: str
    bare: str
    metrics: tuple[Metric, ...]
    run: Callable[[float], list[Series]]
    long: bool = False
    """It first teaches a policy and lives with it for minutes: `--quick` leaves it out."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where figures were measured."""

    processor: str
    cores: int
    system: str
    python: str
    tierloop: str


def machine() -> Machine:
    """This one."""
    return Machine(
        processor=processor(),
        cores=processors(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        tierloop=__version__,
    )


def by_turns(
    seconds: float, *measures: Callable[[], Sequence[float]], least: int = 1
) -> tuple[tuple[Samples, ...], ...]:
    """Runs each measure once a block, in alternating order, so that drift hits all alike.

    Blocks end when the time is up and there are `least` of them. Returns for each measure its
    samples, one array a block.
    """
    results: list[list[Samples]] = [[] for _ in measures]
    end = time.monotonic() + seconds
    while len(results[0]) < least or time.monotonic() < end:
        order = range(len(measures)) if len(results[0]) % 2 == 0 else range(len(measures))[::-1]
        for i in order:
            results[i].append(np.asarray(measures[i](), np.float64))
    return tuple(tuple(found) for found in results)
