"""Outgoing: what waits for a link that is full, by the streams table's rules."""

from collections import deque

from contract.messages import Message
from contract.streams import DELIVERY, DEPTH, Delivery
from link.tally import Tally


class Outgoing:
    """A bounded queue of encoded messages towards one peer."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._queue: deque[tuple[type[Message], bytes]] = deque()
        self._waiting: dict[type[Message], int] = {}

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, kind: type[Message], data: bytes) -> bool:
        """Queues a message unless the stream keeps only its newest or its depth is reached."""
        waiting = self._waiting.get(kind, 0)
        if DELIVERY[kind] is Delivery.NEWEST or waiting >= DEPTH[kind]:
            self._tally.drop(kind, "full")
            return False
        self._waiting[kind] = waiting + 1
        self._queue.append((kind, data))
        return True

    def head(self) -> bytes:
        return self._queue[0][1]

    def pop(self) -> None:
        kind, _ = self._queue.popleft()
        self._waiting[kind] -= 1
        self._tally.sent[kind] += 1

    def clear(self) -> None:
        """Drops all, as when the peer is gone; the next session starts afresh."""
        while self._queue:
            kind, _ = self._queue.popleft()
            self._tally.drop(kind, "lost")
        self._waiting.clear()
