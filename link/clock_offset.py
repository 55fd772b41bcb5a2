"""Estimates the offset of another host's clock, in ns, from echoes on the link."""

from collections import deque
from typing import NamedTuple

from tierloop.contract.bounds import STAMP_MAX
from tierloop.contract.errors import WireError


class Offset(NamedTuple):
    """The peer's clock minus ours, true within +- `bound_ns` (half the round trip)."""

    offset_ns: int
    bound_ns: int
    round_trip_ns: int


class ClockOffset:
    """Estimates a clock offset from four stamps, as NTP does; the quickest echo counts.

    RFC 5905, section 8: offset = ((t2 - t1) + (t3 - t4)) / 2, delay = (t4 - t1) - (t3 - t2).
    """

    def __init__(self, window: int = 8) -> None:
        self._samples: deque[Offset] = deque(maxlen=window)

    def add(self, sent_ns: int, received_ns: int, echoed_ns: int, returned_ns: int) -> None:
        """`sent` and `returned` on our clock, `received` and `echoed` on the peer's.

        Raises WireError for stamps that no honest clock gives: time that runs backwards on a side,
        or more of it held by the peer than the round trip took.
        """
        held_ns = echoed_ns - received_ns
        round_trip = (returned_ns - sent_ns) - held_ns
        if held_ns < 0 or round_trip < 0 or max(abs(received_ns), abs(echoed_ns)) > STAMP_MAX:
            raise WireError("echo")
        offset = ((received_ns - sent_ns) + (echoed_ns - returned_ns)) // 2
        self._samples.append(Offset(offset, (round_trip + 1) // 2, round_trip))

    @property
    def best(self) -> Offset | None:
        return min(self._samples, key=lambda s: s.round_trip_ns, default=None)
