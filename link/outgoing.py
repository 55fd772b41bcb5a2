"""A queue of what a full link cannot take yet, bounded in bytes and by the streams table."""

from collections import deque

from tierloop.contract.messages import Message
from tierloop.contract.streams import DELIVERY, DEPTH, Delivery
from tierloop.link.tally import Tally


class Pool:
    """Bytes that several queues may hold together."""

    def __init__(self, limit: int) -> None:
        self.left = limit


class Outgoing:
    """A bounded queue of encoded messages towards one peer: `limit` bytes at most."""

    def __init__(self, tally: Tally, limit: int, pool: Pool) -> None:
        self._tally, self._pool = tally, pool
        self._left = limit
        self._queue: deque[tuple[type[Message], bytes]] = deque()
        self._waiting: dict[type[Message], int] = {}

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, kind: type[Message], data: bytes) -> bool:
        """Queues a message, unless the stream keeps only its newest or there is no room left."""
        waiting, size = self._waiting.get(kind, 0), len(data)
        room = waiting < DEPTH[kind] and size <= min(self._left, self._pool.left)
        if DELIVERY[kind] is Delivery.NEWEST or not room:
            self._tally.drop(kind, "full")
            return False
        self._waiting[kind] = waiting + 1
        self._hold(size)
        self._queue.append((kind, data))
        return True

    def head(self) -> bytes:
        return self._queue[0][1]

    def pop(self) -> None:
        """The first has left."""
        self._tally.sent[self._take()] += 1

    def clear(self) -> None:
        """Drops all, as when the peer is gone; the next session starts afresh."""
        while self._queue:
            self._tally.drop(self._take(), "lost")

    def _take(self) -> type[Message]:
        kind, data = self._queue.popleft()
        self._waiting[kind] -= 1
        self._hold(-len(data))
        return kind

    def _hold(self, size: int) -> None:
        self._left -= size
        self._pool.left -= size
