"""Wraps a node that hangs, whose disk is full, or that learns slowly. The same on both clocks.

The wrapper is told the process's own faults and the instant at which the run began. It goes by
true time, whatever the process's clock says.
"""

import math
import resource
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any

import msgspec

from tierloop.contract.clock import NS_PER_S
from tierloop.contract.effects import Compute, Effects, Node, Timer
from tierloop.contract.messages import Message, Report
from tierloop.stack.faults.clock import Skew
from tierloop.stack.faults.kinds import Faults, FullDisk, Hang, SlowLearner
from tierloop.stack.faults.timeline import Span, spans, within

HELD_MAX = 1024
"""Messages that a hung process can still take in; more are dropped, and counted."""

_RESUME = "fault.resume"
_DISK_LANES = ("disk", "policy")
_LEARN_LANE = "learn"

_LIMIT = Lock()
"""Held while the process's limit is lowered, so that no lane takes that for the rule."""

Job = Callable[[], Any]
Stretch = Callable[[Job, float], Job]


def slept(job: Job, factor: float) -> Job:
    """The job, followed by as much sleep as makes it last `factor` times as long."""

    def stretched() -> Any:
        start_ns = time.monotonic_ns()
        result = job()
        time.sleep((factor - 1) * (time.monotonic_ns() - start_ns) / NS_PER_S)
        return result

    return stretched


NODE = (Hang, FullDisk, SlowLearner)


def wrapper(
    faults: Faults, began_ns: int, stretch: Stretch = slept
) -> Callable[[Node], Node] | None:
    """What stands around the node of a process with these faults; `stretch` slows a job down."""
    if not any(isinstance(f, NODE) for f in faults):
        return None
    return lambda node: FaultyNode(node, faults, began_ns, stretch)


class FaultyNode:
    """A node that hangs, whose disk is full, or whose learning is slow.

    While it hangs nothing reaches the node; what came in is taken up afterwards, in order. A
    process started during a hang does not hang: the one that hung is gone.
    """

    def __init__(self, node: Node, faults: Faults, began_ns: int, stretch: Stretch = slept) -> None:
        self._node = node
        self._skew = Skew(faults, began_ns)
        self._hangs = spans(faults, Hang, began_ns)
        self._full = spans(faults, FullDisk, began_ns)
        self._slow = [
            (Span(began_ns + f.begin_ns, began_ns + f.end_ns), f.factor)
            for f in faults if isinstance(f, SlowLearner)
        ]  # fmt: skip
        self._stretch = stretch
        self._held: deque[Callable[[int], Effects]] = deque()
        self._messages = self._dropped = 0

    def on_start(self, now_ns: int) -> Effects:
        true_ns = self._skew.true_ns(now_ns)
        self._hangs = [span for span in self._hangs if span.begin_ns > true_ns]
        ends = [Timer(f"{_RESUME}.{s.end_ns}", self._skew.own_ns(s.end_ns)) for s in self._hangs]
        return self._changed(now_ns, self._node.on_start(now_ns)) + ends

    def on_message(self, now_ns: int, peer: str, message: Message) -> Effects:
        if within(self._hangs, self._skew.true_ns(now_ns)):
            self._messages += 1
            if self._messages > HELD_MAX:
                self._dropped += 1
                return []
        return self._when_well(now_ns, partial(_swap, self._node.on_message, peer, message))

    def on_lost(self, now_ns: int, peer: str) -> Effects:
        return self._when_well(now_ns, partial(_swap, self._node.on_lost, peer))

    def on_timer(self, now_ns: int, name: str) -> Effects:
        if name.startswith(_RESUME):
            return self._when_well(now_ns, lambda _: [])
        return self._when_well(now_ns, partial(_swap, self._node.on_timer, name))

    def on_done(self, now_ns: int, name: str, result: Any) -> Effects:
        return self._when_well(now_ns, partial(_swap, self._node.on_done, name, result))

    def report(self, now_ns: int) -> Report:
        report = self._node.report(now_ns)
        if not self._dropped:
            return report
        counters = report.counters | {"dropped.hung": float(self._dropped)}
        return msgspec.structs.replace(report, counters=counters)

    def _when_well(self, now_ns: int, call: Callable[[int], Effects]) -> Effects:
        if within(self._hangs, self._skew.true_ns(now_ns)):
            self._held.append(call)
            return []
        effects: Effects = []
        self._messages = 0
        while self._held:
            effects += self._changed(now_ns, self._held.popleft()(now_ns))
        return effects + self._changed(now_ns, call(now_ns))

    def _changed(self, now_ns: int, effects: Effects) -> Effects:
        if not (self._full or self._slow):
            return effects
        return [self._compute(now_ns, e) if type(e) is Compute else e for e in effects]

    def _compute(self, now_ns: int, compute: Compute) -> Compute:
        true_ns = self._skew.true_ns(now_ns)
        if compute.lane in _DISK_LANES and within(self._full, true_ns):
            return msgspec.structs.replace(compute, job=partial(on_a_full_disk, compute.job))
        if compute.lane == _LEARN_LANE:
            factor = math.prod(f for s, f in self._slow if s.begin_ns <= true_ns < s.end_ns)
            return msgspec.structs.replace(compute, job=self._stretch(compute.job, factor))
        return compute


def _swap(call: Callable[..., Effects], *rest: Any) -> Effects:
    """`call(now, *arguments)`, where `now` is given last."""
    *arguments, now_ns = rest
    return call(now_ns, *arguments)


def on_a_full_disk(job: Job) -> Any:
    """Runs a job while the operating system refuses this process every byte it would write."""
    with _LIMIT:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            return job()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
