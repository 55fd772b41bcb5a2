"""Channels: messages in and out of open sessions, by the streams table's rules.

Newest-wins streams hold one message a peer: on receipt the last of what has arrived is
delivered, on sending a full link drops. Queued streams wait their turn in a bounded queue.
Everything dropped is counted by reason.
"""

from typing import Protocol

from contract.codec import Codec
from contract.errors import SpecError, WireError
from contract.messages import Hello, Message, Refused, Welcome
from contract.streams import DELIVERY, Delivery
from link.outgoing import Outgoing
from link.session import OUTDATED, REPLACED, ClientSession, Peer, ServerSession, State
from link.tally import Tally

DRAIN_MAX = 512
"""Messages taken from a socket in one poll at most, so that no flood stops the caller."""


class ClientTransport(Protocol):
    def send(self, data: bytes) -> bool: ...
    def receive(self) -> bytes | None: ...
    def close(self) -> None: ...


class ServerTransport(Protocol):
    def send(self, route: bytes, data: bytes) -> bool: ...
    def receive(self) -> tuple[bytes, bytes] | None: ...
    def close(self) -> None: ...


Arrived = list[tuple[str, Message]]


def _newest(arrived: Arrived, tally: Tally) -> Arrived:
    """Messages of one poll in order, of newest-wins streams only each peer's newest."""
    kept: Arrived = []
    seen: set[tuple[str, type[Message]]] = set()
    for peer, message in reversed(arrived):
        kind = type(message)
        if DELIVERY[kind] is Delivery.NEWEST and (peer, kind) in seen:
            tally.drop(kind, "superseded")
            continue
        seen.add((peer, kind))
        kept.append((peer, message))
    kept.reverse()
    return kept


class Client:
    """A node's session with its server."""

    def __init__(self, transport: ClientTransport, hello: Hello, server: str) -> None:
        self.transport = transport
        self.session = ClientSession(hello)
        self.tally = Tally()
        self.server = server
        self._codec = Codec()
        self._out = Outgoing(self.tally)
        self.last_bytes = 0
        """Size of the message last sent, for whoever accounts for the radio."""

    @property
    def open(self) -> bool:
        return self.session.state is State.OPEN

    def poll(self, now_ns: int) -> Arrived:
        """What has arrived for the node, after paying what the session owes."""
        while self._out and self.transport.send(self._out.head()):
            self._out.pop()
        owed = self.session.due(now_ns)
        if owed is not None and self.transport.send(self._codec.encode(owed)):
            self.tally.sent[type(owed)] += 1
        data = self.transport.receive()
        if data is None:
            return []
        arrived: Arrived = []
        for _ in range(DRAIN_MAX):
            try:
                message = self._codec.decode(data)
                if self.session.receive(now_ns, message):
                    self.tally.received[type(message)] += 1
                    arrived.append((self.server, message))
            except WireError as error:
                self.tally.refuse(error.reason)
            data = self.transport.receive()
            if data is None:
                break
        return _newest(arrived, self.tally) if len(arrived) > 1 else arrived

    def lost(self, now_ns: int) -> list[str]:
        """The server's name, once, if it has fallen silent."""
        if not self.session.lost(now_ns):
            return []
        self._out.clear()
        return [self.server]

    def send(self, message: Message) -> bool:
        """Sends or queues; False if the message was dropped (and counted)."""
        kind = type(message)
        if self.session.state is not State.OPEN:
            self.tally.drop(kind, "closed")
            return False
        try:
            data = self._codec.encode(message)
        except SpecError:
            self.tally.drop(kind, "unfit")
            return False
        self.last_bytes = len(data)
        if not self._out and self.transport.send(data):
            self.tally.sent[kind] += 1
            return True
        return self._out.put(kind, data)

    def close(self) -> None:
        self.transport.close()


class Server:
    """A node's sessions with its clients, by the clients' names."""

    def __init__(self, transport: ServerTransport) -> None:
        self.transport = transport
        self.session = ServerSession()
        self.tally = Tally()
        self._codec = Codec()
        self._out: dict[str, Outgoing] = {}
        self._ghosts: dict[str, bytes] = {}

    def poll(self, now_ns: int) -> Arrived:
        """What has arrived for the node: Hellos, and messages of open sessions."""
        for name, queue in self._out.items():
            peer = self.session.find(name)
            while queue and peer is not None and self.transport.send(peer.route, queue.head()):
                queue.pop()
        arrived: Arrived = []
        for _ in range(DRAIN_MAX):
            received = self.transport.receive()
            if received is None:
                break
            route, data = received
            try:
                message = self._codec.decode(data)
                if type(message) is Hello:
                    self._succeed(route, message)
            except WireError as error:
                self.tally.refuse(error.reason)
                if error.reason == OUTDATED:
                    self._answer(route, REPLACED)
                continue
            peer, answer = self.session.receive(now_ns, route, message)
            if peer is not None:
                self.tally.received[type(message)] += 1
                arrived.append((peer.name, message))
            elif answer is not None:
                self._answer(route, answer)
        return _newest(arrived, self.tally) if len(arrived) > 1 else arrived

    def _answer(self, route: bytes, message: Message) -> None:
        """What the link itself has to say; nobody waits for it."""
        if self.transport.send(route, self._codec.encode(message)):
            self.tally.sent[type(message)] += 1

    def _succeed(self, route: bytes, hello: Hello) -> None:
        """Remembers who had the name until now, and drops what waited for it.

        Raises WireError if this route may not have it.
        """
        name, ghost = hello.node, self.session.admit(route, hello)
        if ghost is None:
            return
        if ghost.route != route:
            self._ghosts[name] = ghost.route
        if name in self._out:
            self._out[name].clear()

    def lost(self, now_ns: int) -> list[str]:
        """Names of the clients that have fallen silent since the last call."""
        gone = [peer.name for peer in self.session.lost(now_ns)]
        for name in gone:
            self._ghosts.pop(name, None)
            if queue := self._out.pop(name, None):
                queue.clear()
        return gone

    def send(self, peer: str, message: Message) -> bool:
        """Sends or queues; False if the message was dropped (and counted)."""
        kind, known = type(message), self.session.find(peer)
        if known is None or not (known.open or kind in (Welcome, Refused)):
            self.tally.drop(kind, "closed")
            return False
        try:
            data = self._codec.encode(message)
        except SpecError:
            self.tally.drop(kind, "unfit")
            return False
        if kind is Welcome:
            self._admit(known)
        queue = self._out.get(peer)
        if not queue and self.transport.send(known.route, data):
            self.tally.sent[kind] += 1
            sent = True
        else:
            sent = self._out.setdefault(peer, Outgoing(self.tally)).put(kind, data)
        if kind is Refused:
            self._dismiss(known)
        return sent

    def _admit(self, peer: Peer) -> None:
        """Opens a session; whoever had the name until now is told that it is taken."""
        peer.open = True
        ghost = self._ghosts.pop(peer.name, None)
        if ghost is not None:
            self._answer(ghost, REPLACED)

    def _dismiss(self, peer: Peer) -> None:
        self.session.forget(peer)
        self._ghosts.pop(peer.name, None)
        if queue := self._out.pop(peer.name, None):
            queue.clear()

    def close(self) -> None:
        self.transport.close()
