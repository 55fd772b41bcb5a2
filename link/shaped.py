"""A real connection behind modelled links: holds each frame until it has arrived.

Both directions are shaped at the client's end, over the same socket and the same protocol. What
is sent waits here, what has been received waits here too; `due_ns` says until when, so that a
Poller wakes in time. A frame that becomes due while the connection is away is dropped.
"""

import time
from collections import deque
from collections.abc import Iterable
from heapq import heappop, heappush

from tierloop.contract.counters import DELIVERED, LOST, UNDER_WAY, UNREACHABLE, member
from tierloop.link.model import Conditions, LinkModel
from tierloop.link.sockets import NEVER_NS, ClientSocket

Changes = Iterable[tuple[int, Conditions]]
"""From which instant on, by the host's clock, which conditions hold; in order."""


class OneWay:
    """One direction: a model, what is under way in it, and what will become of its conditions."""

    def __init__(self, model: LinkModel, changes: Changes = ()) -> None:
        self.model = model
        self._changes = deque(changes)
        self._under_way: list[tuple[int, int, bytes]] = []
        self._number = 0

    @property
    def under_way(self) -> int:
        """Frames yet to arrive."""
        return len(self._under_way)

    @property
    def due_ns(self) -> int:
        return self._under_way[0][0] if self._under_way else NEVER_NS

    def put(self, now_ns: int, data: bytes) -> None:
        while self._changes and self._changes[0][0] <= now_ns:
            self.model.conditions = self._changes.popleft()[1]
        for arrival in self.model.carry(now_ns, len(data)):
            frame = self.model.spoil(data) if arrival.corrupt else data
            self._number += 1
            heappush(self._under_way, (arrival.at_ns, self._number, frame))

    def take(self, now_ns: int) -> bytes | None:
        """The next frame that has arrived by `now_ns`."""
        if self.due_ns > now_ns:
            return None
        return heappop(self._under_way)[2]


class ShapedSocket(ClientSocket):
    """A ClientSocket behind two modelled directions, `up` to the server and `down` from it."""

    timed = True

    def __init__(self, address: str, up: OneWay, down: OneWay) -> None:
        super().__init__(address)
        self._up, self._down = up, down
        self._handed_on = self._unreachable = self._taken = 0

    @property
    def due_ns(self) -> int:  # type: ignore[override]
        """When the next frame is to be handed on, by the host's clock."""
        return min(self._up.due_ns, self._down.due_ns)

    def send(self, data: bytes) -> bool:
        """Puts a frame on the link; True, since a link does not tell what it loses."""
        self.pump()
        self._up.put(time.monotonic_ns(), data)
        self.pump()
        return True

    def receive(self) -> bytes | None:
        """The next frame that has come through, or None."""
        self.pump()
        frame = self._down.take(time.monotonic_ns())
        self._taken += frame is not None
        return frame

    def pump(self) -> None:
        """Hands on what is due upwards, and puts on the link what has come in."""
        now_ns = time.monotonic_ns()
        while (frame := self._up.take(now_ns)) is not None:
            if super().send(frame):
                self._handed_on += 1
            else:
                self._unreachable += 1
        while (data := super().receive()) is not None:
            self._down.put(now_ns, data)

    def counters(self) -> dict[str, float]:
        """What the links made of the frames, up and down."""
        counts = self._up.model.counters("up") | self._down.model.counters("down")
        counts[member(DELIVERED, "up")] = float(self._handed_on)
        counts[member(DELIVERED, "down")] = float(self._taken)
        counts[member(UNDER_WAY, "up")] = float(self._up.under_way)
        counts[member(UNDER_WAY, "down")] = float(self._down.under_way)
        if self._unreachable:
            counts[member(LOST, "up", UNREACHABLE)] = float(self._unreachable)
        return counts
