"""Sessions without I/O: who is there, and since when. The sockets are someone else's.

Client:  OPENING --Welcome--> OPEN --silence or a passing Refused--> OPENING;  a final Refused
ends in REFUSED. While OPENING it repeats its Hello, while OPEN it beats at the declared rate.
Server: a route is known from its Hello on, under one name; a Hello under a known name takes the
name over unless it is of an older boot, so a restarted client is never locked out by its own ghost.
"""

from enum import Enum

from contract.clock import NS_PER_MS, period_ns
from contract.errors import WireError
from contract.messages import Beat, Echo, Hello, Message, Refused, Welcome
from contract.streams import STREAMS, silence_ns
from link.health import ClockOffset

HELLO_EVERY_NS = 100 * NS_PER_MS
BEAT_EVERY_NS = period_ns(next(s.rate_hz for s in STREAMS if s.message is Beat))
SILENCE_NS = silence_ns(Beat)

PEERS_MAX = 1024
"""Clients of one server; beyond it nobody new is let in."""

_LINK_OWN = frozenset((Echo, Welcome, Refused))
"""What a client's link reads itself; all else is for the node."""

NO_SESSION = Refused(reason="no session", final=False)
OUTDATED = "outdated"
"""Why a Hello is not let in whose name a newer boot has."""
REPLACED = Refused(reason="another process took this name", final=True)


class State(Enum):
    OPENING = "opening"
    OPEN = "open"
    REFUSED = "refused"


_GAUGE = {State.OPEN: 1.0, State.OPENING: 0.0, State.REFUSED: -1.0}


class ClientSession:
    """One client's end. Every Hello carries the same boot, so that the server can resume."""

    def __init__(self, hello: Hello) -> None:
        self.hello = hello
        self.state = State.OPENING
        self.refusal = ""
        self.clock = ClockOffset()
        self._due_ns = 0
        self._heard_ns = 0
        self._beat = 0
        self._server_boot = -1

    def due(self, now_ns: int) -> Message | None:
        """What this end owes the link now: a Hello, a Beat or nothing."""
        if now_ns < self._due_ns or self.state is State.REFUSED:
            return None
        if self.state is State.OPENING:
            self._due_ns = now_ns + HELLO_EVERY_NS
            return self.hello
        self._due_ns = now_ns + BEAT_EVERY_NS
        self._beat += 1
        return Beat(seq=self._beat, sent_ns=now_ns)

    def lost(self, now_ns: int) -> bool:
        """True once, when the server has just been silent for too long."""
        if self.state is not State.OPEN or now_ns - self._heard_ns <= SILENCE_NS:
            return False
        self._reopen()
        return True

    def receive(self, now_ns: int, message: Message) -> bool:
        """Takes note of a message; True if it is for the node. After the last word nothing is."""
        if self.state is State.REFUSED:
            return False
        self._heard_ns = now_ns
        if type(message) not in _LINK_OWN:
            return self.state is State.OPEN
        match message:
            case Echo():
                self.clock.add(message.sent_ns, message.received_ns, message.echoed_ns, now_ns)
                return False
            case Welcome():
                if self.state is State.OPEN and message.boot == self._server_boot:
                    return False
                self.state, self._server_boot, self._due_ns = State.OPEN, message.boot, now_ns
                return True
            case Refused(final=True):
                self.state, self.refusal = State.REFUSED, message.reason
                return True
            case Refused():
                self._reopen()
        return False

    def gauges(self) -> dict[str, float]:
        """For the record: 1 in session, 0 not, -1 refused for good."""
        return {"session": _GAUGE[self.state]}

    def _reopen(self) -> None:
        self.state, self._due_ns = State.OPENING, 0


class Peer:
    """What a server knows of one client."""

    __slots__ = ("boot", "heard_ns", "name", "open", "route")

    def __init__(self, name: str, boot: int, route: bytes, now_ns: int) -> None:
        self.name, self.boot, self.route = name, boot, route
        self.heard_ns = now_ns
        self.open = False


class ServerSession:
    """The server's end of all its clients' sessions."""

    def __init__(self) -> None:
        self._by_route: dict[bytes, Peer] = {}
        self._by_name: dict[str, Peer] = {}

    def receive(
        self, now_ns: int, route: bytes, message: Message
    ) -> tuple[Peer | None, Message | None]:
        """The peer if the message is for the node, and what the link answers by itself.

        A Hello must have been let in by `admit`.
        """
        if isinstance(message, Hello):
            return self._hello(now_ns, route, message), None
        peer = self._by_route.get(route)
        if peer is None or not peer.open:
            return None, None if peer else NO_SESSION
        peer.heard_ns = now_ns
        if isinstance(message, Beat):
            return None, Echo(
                seq=message.seq, sent_ns=message.sent_ns, received_ns=now_ns, echoed_ns=now_ns
            )
        return peer, None

    def admit(self, route: bytes, hello: Hello) -> Peer | None:
        """Who has the name until now. Raises WireError if the route may not go by it.

        A route keeps its name while it is known, so that a node hears of the end of each name. A
        name stays with the newest boot: a Hello may be late, and its process long dead.
        """
        known, ghost = self._by_route.get(route), self._by_name.get(hello.node)
        if known is not None and known.name != hello.node:
            raise WireError("renamed")
        if ghost is not None and hello.boot < ghost.boot:
            raise WireError(OUTDATED)
        if ghost is None and len(self._by_route) >= PEERS_MAX:
            raise WireError("crowded")
        return ghost

    def _hello(self, now_ns: int, route: bytes, hello: Hello) -> Peer:
        ghost = self._by_name.get(hello.node)
        if ghost is not None:
            self.forget(ghost)
        peer = Peer(hello.node, hello.boot, route, now_ns)
        self._by_route[route] = self._by_name[hello.node] = peer
        return peer

    def find(self, name: str) -> Peer | None:
        return self._by_name.get(name)

    def forget(self, peer: Peer) -> None:
        self._by_route.pop(peer.route, None)
        self._by_name.pop(peer.name, None)

    def lost(self, now_ns: int) -> list[Peer]:
        """Forgets and returns the peers that have been silent for too long."""
        gone = [p for p in self._by_route.values() if now_ns - p.heard_ns > SILENCE_NS]
        for peer in gone:
            self.forget(peer)
        return gone
