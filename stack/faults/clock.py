"""A clock with faults: steps and drifts away from the true time."""

import time
from bisect import bisect_right
from operator import attrgetter
from typing import NamedTuple

from tierloop.contract.clock import NS_PER_MS, Clock
from tierloop.stack.faults.kinds import SLOWEST, ClockDrift, ClockStep, Faults

CLOCK = (ClockStep, ClockDrift)


def clock(faults: Faults, began_ns: int) -> Clock | None:
    """The clock of a process with these faults, if it is wrong at any time."""
    wrong = any(isinstance(f, CLOCK) for f in faults)
    return SkewedClock(Skew(faults, began_ns)) if wrong else None


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
