"""Channels: send and receive messages of open sessions, by the rules of the streams table.

Newest-wins streams hold one message a peer: on receipt the last of what has arrived is
delivered, on sending a full link drops. Queued streams wait their turn in a bounded queue.
Everything dropped is counted by reason.
"""

from typing import Protocol

from tierloop.contract.codec import Codec
from tierloop.contract.errors import SpecError, WireError
from tierloop.contract.messages import Hello, Message, Refused, Welcome
from tierloop.contract.streams import DELIVERY, Delivery
from tierloop.link.outgoing import Outgoing, Pool
from tierloop.link.session import REPLACED, TAKEN, ClientSession, ServerSession, State
from tierloop.link.tally import Tally

DRAIN_MAX = 512
"""Messages taken from a socket in one poll at most, so that no flood stops the caller."""

CLIENT_BYTES = 16 * 1024 * 1024
"""What may wait at a client for its link at most."""
PEER_BYTES, SERVER_BYTES = 1024 * 1024, 64 * 1024 * 1024
"""What may wait at a server for one client's link at most, and for all of them together."""


class ClientTransport(Protocol):
    def send(self, data: bytes) -> bool: ...
    def receive(self) -> bytes | None: ...
    def close(self) -> None: ...

    def counters(self) -> dict[str, float]:
        """What the link made of the frames, where it is a modelled one; else nothing."""
        ...


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
        self._out = Outgoing(self.tally, CLIENT_BYTES, Pool(CLIENT_BYTES))
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

    def counters(self) -> dict[str, float]:
        """What was sent, received and dropped here, and what the link made of it."""
        return self.tally.counters() | self.transport.counters()

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
    """A node's sessions with its clients, by the clients' names.

    A Hello comes under a label in place of a name; a Welcome or Refused to that label answers it.
    """

    def __init__(self, transport: ServerTransport) -> None:
        self.transport = transport
        self.session = ServerSession()
        self.tally = Tally()
        self._codec = Codec()
        self._out: dict[str, Outgoing] = {}
        self._pool = Pool(SERVER_BYTES)

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
                    arrived.append((self.session.claim(now_ns, route, message), message))
                    self.tally.received[Hello] += 1
                    continue
            except WireError as error:
                self.tally.refuse(error.reason)
                if error.reason == TAKEN:
                    self._answer(route, REPLACED)
                continue
            peer, answer = self.session.receive(now_ns, route, message)
            if peer is not None:
                self.tally.received[type(message)] += 1
                arrived.append((peer.name, message))
            elif answer is not None:
                self._answer(route, answer)
        return _newest(arrived, self.tally) if len(arrived) > 1 else arrived

    def _answer(self, route: bytes, message: Message) -> bool:
        """Says what nobody waits for: a client that does not hear it asks again."""
        kind = type(message)
        try:
            data = self._codec.encode(message)
        except SpecError:
            self.tally.drop(kind, "unfit")
            return False
        if sent := self.transport.send(route, data):
            self.tally.sent[kind] += 1
        else:
            self.tally.drop(kind, "full")
        return sent

    def lost(self, now_ns: int) -> list[str]:
        """Names of the clients that have fallen silent since the last call."""
        gone = [peer.name for peer in self.session.lost(now_ns)]
        for name in gone:
            if queue := self._out.pop(name, None):
                queue.clear()
        return gone

    def send(self, peer: str, message: Message) -> bool:
        """Sends or queues; False if the message was dropped (and counted).

        `peer` is a name in session, or the label of a Hello that a Welcome or Refused answers.
        """
        kind = type(message)
        if self.session.claimant(peer) is not None:
            return self._judge(peer, message)
        known = self.session.find(peer)
        if known is None:
            if kind is Welcome:
                self.session.outlived(peer)
            self.tally.drop(kind, "closed")
            return False
        try:
            data = self._codec.encode(message)
        except SpecError:
            self.tally.drop(kind, "unfit")
            return False
        queue = self._out.get(peer)
        if not queue and self.transport.send(known.route, data):
            self.tally.sent[kind] += 1
            return True
        if queue is None:
            queue = self._out[peer] = Outgoing(self.tally, PEER_BYTES, self._pool)
        return queue.put(kind, data)

    def _judge(self, label: str, message: Message) -> bool:
        """The node's word about a claim; who had the name until now is told that it is taken."""
        if type(message) is Welcome:
            peer, before = self.session.open(label)
            if queue := self._out.get(peer.name):
                queue.clear()
            if before is not None:
                self._answer(before.route, REPLACED)
        elif type(message) is Refused:
            peer = self.session.drop(label)
        else:
            self.tally.drop(type(message), "closed")
            return False
        return self._answer(peer.route, message)

    def close(self) -> None:
        self.transport.close()
