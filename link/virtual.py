"""Links in memory, on a virtual clock: a message arrives when the model of its link says so.

A Way is one direction of a link and outlives whoever is at its ends. A Port is an address: it
knows the server that listens there at the moment, if any, and the clients by their routes.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from tierloop.contract.counters import DELIVERED, LOST, UNDER_WAY, UNREACHABLE, member
from tierloop.link.model import LinkModel


class Schedule(Protocol):
    """The virtual clock."""

    now_ns: int

    def at(self, at_ns: int, call: Callable[[], object]) -> None: ...


class Tap(Protocol):
    """Hears what is put on a way and what arrives."""

    def sent(self, way: int, now_ns: int, data: bytes) -> None: ...
    def came(self, way: int, now_ns: int) -> None: ...


class Way:
    """One direction of a link; `number` tells it from the others.

    `delivered` counts what found somebody at the end, `unreachable` what found nobody.
    `under_way` is what is yet to arrive.
    """

    def __init__(self, number: int, model: LinkModel, clock: Schedule, tap: Tap) -> None:
        self.model = model
        self.offered = 0
        self.delivered = 0
        self.unreachable = 0
        self.under_way = 0
        self._number, self._clock, self._tap = number, clock, tap

    def put(self, data: bytes, deliver: Callable[[bytes], bool]) -> None:
        """Puts a message on the way; `deliver` says whether anybody was there to take it."""
        now_ns = self._clock.now_ns
        self.offered += 1
        self._tap.sent(self._number, now_ns, data)
        for arrival in self.model.carry(now_ns, len(data)):
            frame = self.model.spoil(data) if arrival.corrupt else data
            self.under_way += 1
            self._clock.at(arrival.at_ns, partial(self._arrive, frame, deliver))

    def _arrive(self, frame: bytes, deliver: Callable[[bytes], bool]) -> None:
        self._tap.came(self._number, self._clock.now_ns)
        self.under_way -= 1
        if deliver(frame):
            self.delivered += 1
        else:
            self.unreachable += 1

    def counters(self, way: str) -> dict[str, float]:
        """What became of the messages, as a shaped socket counts them, and what was delivered."""
        counts = self.model.counters(way)
        counts[member(DELIVERED, way)] = float(self.delivered)
        counts[member(UNDER_WAY, way)] = float(self.under_way)
        if self.unreachable:
            counts[member(LOST, way, UNREACHABLE)] = float(self.unreachable)
        return counts


class Port:
    """Where a server may listen."""

    def __init__(self) -> None:
        self._server: VirtualServer | None = None
        self._clients: dict[bytes, VirtualClient] = {}

    def listen(self, wake: Callable[[], None]) -> "VirtualServer":
        """A server; `wake` is called when a message has arrived."""
        self._server = VirtualServer(self, wake)
        return self._server

    def connect(
        self, route: bytes, up: Way, down: Way, wake: Callable[[], None]
    ) -> "VirtualClient":
        """A client under a route that nobody else has or had."""
        self._clients[route] = client = VirtualClient(self, route, up, down, wake)
        return client

    def deliver(self, route: bytes, data: bytes) -> bool:
        """Hands a message to the server, if one listens."""
        if self._server is None:
            return False
        self._server.take(route, data)
        return True

    def find(self, route: bytes) -> "VirtualClient | None":
        return self._clients.get(route)

    def closed(self, end: "VirtualServer | VirtualClient") -> None:
        """One end is gone; what is under way to it will find nobody."""
        if isinstance(end, VirtualClient):
            self._clients.pop(end.route, None)
        elif end is self._server:
            self._server = None


class VirtualServer:
    """A ServerTransport."""

    def __init__(self, port: Port, wake: Callable[[], None]) -> None:
        self._port, self._wake = port, wake
        self._inbox: deque[tuple[bytes, bytes]] = deque()

    def take(self, route: bytes, data: bytes) -> None:
        self._inbox.append((route, data))
        self._wake()

    def send(self, route: bytes, data: bytes) -> bool:
        client = self._port.find(route)
        if client is None:
            return False
        client.down.put(data, client.take)
        return True

    def receive(self) -> tuple[bytes, bytes] | None:
        return self._inbox.popleft() if self._inbox else None

    def close(self) -> None:
        self._port.closed(self)


class VirtualClient:
    """A ClientTransport."""

    def __init__(
        self, port: Port, route: bytes, up: Way, down: Way, wake: Callable[[], None]
    ) -> None:
        self.route, self.up, self.down = route, up, down
        self._port, self._wake = port, wake
        self._inbox: deque[bytes] = deque()
        self._deliver = partial(port.deliver, route)
        self._closed = False

    def take(self, data: bytes) -> bool:
        if self._closed:
            return False
        self._inbox.append(data)
        self._wake()
        return True

    def send(self, data: bytes) -> bool:
        """Puts a message on the link; True, since a link does not tell what it loses."""
        self.up.put(data, self._deliver)
        return True

    def receive(self) -> bytes | None:
        return self._inbox.popleft() if self._inbox else None

    def close(self) -> None:
        self._closed = True
        self._port.closed(self)

    def counters(self) -> dict[str, float]:
        """What the links made of the messages, up and down."""
        return self.up.counters("up") | self.down.counters("down")
