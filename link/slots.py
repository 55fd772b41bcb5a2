"""Slots of time: at each edge the path changes, and with it the delay, until the next edge."""

from collections.abc import Callable

from tierloop.contract.clock import NS_PER_MS, NS_PER_S

PHASE_NS = 12 * NS_PER_S
"""One edge. Starlink's are 12, 27, 42 and 57 s past each minute, for all terminals at once."""


class Slots:
    """The slots of one direction, on a grid that all links of a clock share."""

    def __init__(
        self, slot_s: float, most_ms: float, stall_ms: float, draw: Callable[[], float]
    ) -> None:
        """`draw` gives numbers from 0 to 1; `most_ms` and `stall_ms` as a link declares them."""
        self._slot_ns = round(slot_s * NS_PER_S)
        self._most_ns = most_ms * NS_PER_MS
        self._stall_ns = round(stall_ms * NS_PER_MS)
        self._draw = draw
        self._number: int | None = None
        self._extra_ns = 0

    def leave(self, at_ns: int) -> tuple[int, int]:
        """When what is ready at `at_ns` leaves, and what its slot adds to the delay."""
        number, since_ns = divmod(at_ns - PHASE_NS, self._slot_ns)
        if number != self._number:
            self._number, self._extra_ns = number, int(self._most_ns * self._draw())
        return at_ns + max(self._stall_ns - since_ns, 0), self._extra_ns
