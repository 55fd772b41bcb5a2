"""Faults inside a process: its clock, the body's sensors, its node. The same on both clocks.

Each wrapper is told the process's own faults and the instant at which the run began. It goes by
true time, whatever the process's clock says.
"""

import math
import resource
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from threading import Lock
from typing import Any, NamedTuple

import msgspec

from tierloop.contract.body import Body, Episode, Reading, Scan
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.effects import Compute, Effects, Node, Timer
from tierloop.contract.messages import Message, Report
from tierloop.stack.faults.kinds import (
    SLOWEST,
    ClockDrift,
    ClockStep,
    Faults,
    FullDisk,
    Hang,
    SensorDropout,
    SensorFreeze,
    SlowLearner,
)

HELD_MAX = 1024
"""Messages that a hung process can still take in; more are dropped, and counted."""

_RESUME = "fault.resume"
_DISK_LANES = ("disk", "policy")
_LEARN_LANE = "learn"

_LIMIT = Lock()
"""Held while the process's limit is lowered, so that no lane takes that for the rule."""

Job = Callable[[], Any]
Stretch = Callable[[Job, float], Job]


class Span(NamedTuple):
    """From `begin_ns` to before `end_ns`, in true time."""

    begin_ns: int
    end_ns: int


def spans(faults: Faults, kind: type, began_ns: int) -> list[Span]:
    """When faults of one kind last."""
    return [Span(began_ns + f.begin_ns, began_ns + f.end_ns) for f in faults if isinstance(f, kind)]


def within(spans: list[Span], now_ns: int) -> bool:
    return any(span.begin_ns <= now_ns < span.end_ns for span in spans)


class Piece(NamedTuple):
    """From `true_ns` on, when the process's clock said `own_ns`, it gains `gain` of the time."""

    true_ns: int
    own_ns: int
    gain: float


class Skew:
    """A process's clock as a function of true time, and back: steps and drifts, never backwards."""

    def __init__(self, faults: Faults, began_ns: int) -> None:
        steps = [(began_ns + f.begin_ns, f.step_ms) for f in faults if isinstance(f, ClockStep)]
        drifts = [f for f in faults if isinstance(f, ClockDrift)]
        turns = {began_ns + t for f in drifts for t in (f.begin_ns, f.end_ns)}
        self._pieces = [Piece(0, 0, 0.0)]
        for at_ns in sorted(turns | {at_ns for at_ns, _ in steps}):
            step_ms = sum(ms for t, ms in steps if t == at_ns)
            ppm = sum(f.ppm for f in drifts if f.begin_ns <= at_ns - began_ns < f.end_ns)
            own_ns = self.own_ns(at_ns) + round(step_ms * NS_PER_MS)
            self._pieces.append(Piece(at_ns, own_ns, max(SLOWEST - 1, ppm * 1e-6)))

    def own_ns(self, true_ns: int) -> int:
        """What the process's clock says at a true instant."""
        piece = self._pieces[bisect_right(self._pieces, true_ns, key=_true) - 1]
        passed_ns = true_ns - piece.true_ns
        return piece.own_ns + passed_ns + round(passed_ns * piece.gain)

    def true_ns(self, own_ns: int) -> int:
        """The true instant at which the process's clock says `own_ns`; within a leap, its own."""
        i = bisect_right(self._pieces, own_ns, key=_own) - 1
        piece = self._pieces[i]
        passed_ns = own_ns - piece.own_ns
        true_ns = piece.true_ns + passed_ns - round(passed_ns * piece.gain / (1 + piece.gain))
        return min([true_ns, *(after.true_ns for after in self._pieces[i + 1 : i + 2])])


_true, _own = attrgetter("true_ns"), attrgetter("own_ns")


class SkewedClock:
    """The host's monotonic clock, but wrong."""

    def __init__(self, skew: Skew) -> None:
        self._skew = skew

    def now_ns(self) -> int:
        return self._skew.own_ns(time.monotonic_ns())


class FaultyBody:
    """A body whose sensors freeze or fall silent, and whose stamps are those of its host's clock.

    What the world judges (`outcomes`) is no sensor's and always comes through.
    """

    def __init__(self, body: Body, faults: Faults, began_ns: int) -> None:
        self.spec = body.spec
        self.tool_position, self.write = body.tool_position, body.write
        self.hold, self.close = body.hold, body.close
        self._body = body
        self._skew = Skew(faults, began_ns)
        self._frozen = spans(faults, SensorFreeze, began_ns)
        self._silent = spans(faults, SensorDropout, began_ns)
        self._last: Reading | None = None

    def read(self, now_ns: int) -> Reading:
        true_ns = self._skew.true_ns(now_ns)
        now = self._stamped(self._body.read(true_ns))
        last = self._last
        if last is not None and within(self._silent, true_ns):
            return last._replace(scans=(), outcomes=now.outcomes)
        if last is not None and within(self._frozen, true_ns):
            return last._replace(captured_ns=now.captured_ns, scans=(), outcomes=now.outcomes)
        self._last = now
        return now

    def _stamped(self, reading: Reading) -> Reading:
        own = self._skew.own_ns
        return reading._replace(
            captured_ns=own(reading.captured_ns),
            scans=tuple(_scan(scan, own) for scan in reading.scans),
            outcomes=tuple(_episode(episode, own) for episode in reading.outcomes),
        )


def _scan(scan: Scan, own: Callable[[int], int]) -> Scan:
    return scan._replace(captured_ns=own(scan.captured_ns))


def _episode(episode: Episode, own: Callable[[int], int]) -> Episode:
    return episode._replace(started_ns=own(episode.started_ns), ended_ns=own(episode.ended_ns))


def slept(job: Job, factor: float) -> Job:
    """The job, followed by as much sleep as makes it last `factor` times as long."""

    def stretched() -> Any:
        start_ns = time.monotonic_ns()
        result = job()
        time.sleep((factor - 1) * (time.monotonic_ns() - start_ns) / NS_PER_S)
        return result

    return stretched


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
