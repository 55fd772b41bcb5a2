"""Clocks: time is an integer of nanoseconds, never goes back, and is passed in by the shell."""

import time
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000


class Clock(Protocol):
    """Tells the time to a shell. Nodes hold no clock: their shell passes the time in."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary origin of this host; never goes back."""
        ...


class WallClock:
    """The host's monotonic clock."""

    now_ns = staticmethod(time.monotonic_ns)


class ManualClock:
    """A clock that moves only when told; `advance` refuses to go back."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance(self, delta_ns: int) -> int:
        """Moves the clock by `delta_ns` >= 0 and returns the new time."""
        if delta_ns < 0:
            raise ValueError(f"a clock does not go back: {delta_ns} ns")
        self._now_ns += delta_ns
        return self._now_ns


def period_ns(rate_hz: float) -> int:
    """The period of a rate, rounded to the nanosecond."""
    return round(NS_PER_S / rate_hz)
