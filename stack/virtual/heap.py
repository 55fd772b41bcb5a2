"""The heap of events: the only clock of a virtual run."""

from collections.abc import Callable
from heapq import heappop, heappush

Call = Callable[[], object]


class Heap:
    """Calls in order of time; of two at one instant the one that was asked for first."""

    __slots__ = ("_number", "_queue", "now_ns")

    def __init__(self) -> None:
        self.now_ns = 0
        self._number = 0
        self._queue: list[tuple[int, int, Call]] = []

    def at(self, at_ns: int, call: Call) -> None:
        """Calls at an instant; one that is past means now, after all that is due now."""
        self._number += 1
        heappush(self._queue, (max(at_ns, self.now_ns), self._number, call))

    def run(self, until_ns: int) -> None:
        """Lives through everything up to and including `until_ns`."""
        queue = self._queue
        while queue and queue[0][0] <= until_ns:
            self.now_ns, _, call = heappop(queue)
            call()
        self.now_ns = max(self.now_ns, until_ns)
