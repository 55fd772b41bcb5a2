"""Tells whether other work disturbed a measurement: by its processors, and by a repeated loop."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import psutil

OTHERS_MAX = 0.2
"""Share of the machine's processors that other work may take; an idle desktop has a tenth of it."""
WAITED_MAX = 0.05
"""Share of its time that the loop may wait for a processor."""
PACE_MAX = 1.25
"""How far apart the loop's medians of two blocks may lie; beyond, the machine changed its pace."""

LOOP = 50_000
"""Additions, about a millisecond."""


class Turn(NamedTuple):
    """One turn of the loop: time on the wall, and of that on a processor, in seconds."""

    wall_s: float
    cpu_s: float


class HostWatch:
    """Looks at the machine between the measurements of a block."""

    def __init__(self) -> None:
        self._blocks: list[list[Turn]] = []
        self._begun = _usage()

    def begin_block(self) -> None:
        self._blocks.append([])

    def look(self, turns: int = 1) -> None:
        """Turns the loop so many times."""
        self._blocks[-1] += [_turn() for _ in range(turns)]

    def verdict(self) -> str:
        """What is wrong so far, in words; "" for nothing."""
        return judge(self._blocks, _others(self._begun, _usage()))


def judge(blocks: Sequence[Sequence[Turn]], others: float) -> str:
    """What disturbed the blocks, in words, or ""; `others` is the share of other work.

    The first of several blocks does not tell of the pace: it warms up.
    """
    if others > OTHERS_MAX:
        return f"other work took {others:.0%} of its processors"
    turns = [turn for block in blocks for turn in block]
    waited = 1.0 - sum(t.cpu_s for t in turns) / sum(t.wall_s for t in turns)
    if waited > WAITED_MAX:
        return f"the measurement waited for a processor for {waited:.0%} of its time"
    warm = blocks[1:] or blocks
    medians = [float(np.median([turn.wall_s for turn in block])) for block in warm]
    if max(medians) > PACE_MAX * min(medians):
        times = max(medians) / min(medians)
        return f"the same loop took {times:.2g} times as long at one time as at another"
    return ""


class _Usage(NamedTuple):
    """Processor seconds since the machine started: offered, used, and used by this process."""

    offered_s: float
    used_s: float
    own_s: float


def _usage() -> _Usage:
    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    twice_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    offered_s = sum(times) - twice_s
    return _Usage(offered_s, offered_s - idle_s, time.process_time())


def _others(begun: _Usage, now: _Usage) -> float:
    """The share of all processors that other work took; what a hypervisor withheld counts too."""
    used_s = (now.used_s - begun.used_s) - (now.own_s - begun.own_s)
    return max(0.0, used_s) / max(now.offered_s - begun.offered_s, 1e-9)


def _turn() -> Turn:
    begun_ns, begun_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
    sum(range(LOOP))
    cpu_s, wall_s = time.thread_time_ns() - begun_cpu_ns, time.perf_counter_ns() - begun_ns
    return Turn(wall_s / 1e9, cpu_s / 1e9)
