"""Sessions, without I/O: which peers are there, and since when.

Client:  OPENING --Welcome--> OPEN --silence or Refused--> OPENING. While it is not OPEN it repeats
its Hello, more rarely the longer it is refused; while OPEN it beats at the declared rate.
Server: a Hello is a claim to a name, and changes nothing. The node judges it: with its Welcome the
route has the name, and whoever had it until then is told so. A name in session is not given away
while its holder speaks, nor to an older boot, which may be a late message of a dead process; once
its holder is silent, to anyone.
"""

from collections import deque
from enum import Enum
from typing import NamedTuple

from tierloop.contract.clock import NS_PER_MS, period_ns
from tierloop.contract.errors import WireError
from tierloop.contract.messages import Beat, Echo, Hello, Message, Refused, Welcome
from tierloop.contract.streams import STREAMS, silence_ns
from tierloop.link.clock_offset import ClockOffset

HELLO_EVERY_NS = 100 * NS_PER_MS
HELLO_RAREST_NS = 2_000 * NS_PER_MS
"""While it is refused a client doubles the time to its next Hello, up to this."""
BEAT_EVERY_NS = period_ns(next(s.rate_hz for s in STREAMS if s.message is Beat))
SILENCE_NS = silence_ns(Beat)

FORGET_NS = 3 * HELLO_RAREST_NS
"""A refusal after which the server is silent for so long is forgotten: it is gone, or mute."""

PEERS_MAX = 1024
"""Clients and claims of one server; beyond it nobody new is let in."""

BEATS_KEPT = 16
"""Beats whose echoes are still taken; a later one says nothing that a newer has not said better."""

_LINK_OWN = frozenset((Echo, Welcome, Refused))
"""What a client's link reads itself; all else is for the node."""

LIVING_NS = 2 * BEAT_EVERY_NS
"""Whoever was heard within this keeps its name, whatever boot another claims over another route."""

NO_SESSION = Refused(reason="no session", final=False)
TAKEN = "taken"
"""Why a Hello is not let in whose name somebody living has, or a newer boot."""
REPLACED = Refused(reason="another process has this name", final=False)


class State(Enum):
    """REFUSED: the last word of a server that it was never in session with was a final one."""

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
        self._was_open = False
        self._due_ns = 0
        self._pause_ns = HELLO_EVERY_NS
        self._heard_ns = 0
        self._beats: deque[tuple[int, int]] = deque(maxlen=BEATS_KEPT)
        self._beat = 0
        self._server_boot = -1

    def due(self, now_ns: int) -> Message | None:
        """What this end owes the link now: a Hello, a Beat or nothing."""
        if now_ns < self._due_ns:
            return None
        if self.state is not State.OPEN:
            self._due_ns = now_ns + self._pause_ns
            if self.state is State.OPENING and now_ns - self._heard_ns > FORGET_NS:
                self.refusal = ""
            return self.hello
        self._due_ns = now_ns + BEAT_EVERY_NS
        self._beat += 1
        self._beats.append((self._beat, now_ns))
        return Beat(seq=self._beat, sent_ns=now_ns)

    def lost(self, now_ns: int) -> bool:
        """True once, when the server has just been silent for too long."""
        if self.state is not State.OPEN or now_ns - self._heard_ns <= SILENCE_NS:
            return False
        self._reopen()
        return True

    def receive(self, now_ns: int, message: Message) -> bool:
        """Takes note of a message; True if it is for the node.

        Raises WireError for an Echo of what was never sent.
        """
        if type(message) is Echo and (message.seq, message.sent_ns) not in self._beats:
            raise WireError("unasked")
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
                self._was_open, self.refusal, self._pause_ns = True, "", HELLO_EVERY_NS
                return True
            case Refused():
                return self._refused(now_ns, message)
        return False

    def gauges(self) -> dict[str, float]:
        """For the record: 1 in session, 0 not, -1 refused for good."""
        return {"session": _GAUGE[self.state]}

    def _refused(self, now_ns: int, message: Refused) -> bool:
        """The session is over, or none begins for now; a reason is told once."""
        if self.state is State.OPEN:
            self._reopen()
        elif message != NO_SESSION:
            self._pause_ns = min(2 * self._pause_ns, HELLO_RAREST_NS)
            self._due_ns = now_ns + self._pause_ns
        if message == NO_SESSION:
            return False
        if message.final and not self._was_open:
            self.state = State.REFUSED
        told, self.refusal = self.refusal, message.reason
        return told != message.reason

    def _reopen(self) -> None:
        self.state, self._due_ns = State.OPENING, 0


class Peer:
    """What a server knows of one client, or of one that would be it."""

    __slots__ = ("boot", "heard_ns", "label", "name", "open", "route")

    def __init__(self, name: str, boot: int, route: bytes, now_ns: int, label: str) -> None:
        self.name, self.boot, self.route, self.label = name, boot, route, label
        self.heard_ns = now_ns
        self.open = False


class Opened(NamedTuple):
    """A session has begun; `before` had the name until now, over another route."""

    peer: Peer
    before: Peer | None


class ServerSession:
    """The server's end of all its clients' sessions, and the claims that wait for a judgement."""

    def __init__(self) -> None:
        self._by_route: dict[bytes, Peer] = {}
        self._by_name: dict[str, Peer] = {}
        self._claims: dict[str, Peer] = {}
        self._claimed: dict[bytes, str] = {}
        self._number = 0

    def receive(
        self, now_ns: int, route: bytes, message: Message
    ) -> tuple[Peer | None, Message | None]:
        """The peer if the message (no Hello) is for the node, and what the link itself answers."""
        peer = self._by_route.get(route)
        if peer is None:
            return None, None if route in self._claimed else NO_SESSION
        peer.heard_ns = now_ns
        if isinstance(message, Beat):
            return None, Echo(
                seq=message.seq, sent_ns=message.sent_ns, received_ns=now_ns, echoed_ns=now_ns
            )
        return peer, None

    def claim(self, now_ns: int, route: bytes, hello: Hello) -> str:
        """Takes a Hello as a claim, the one of its route; the label it is to be answered by.

        Raises WireError if the route may not go by that name: a route keeps its name while it is
        known, so that a node hears of the end of each name. No Hello can carry a label as its name.
        """
        name, holder = hello.node, self._by_name.get(hello.node)
        label = self._claimed.get(route, "")
        claim = self._claims.get(label)
        known = self._by_route.get(route) or claim
        if known is not None and known.name != name:
            raise WireError("renamed")
        if holder is not None:
            living = holder.route != route and now_ns - holder.heard_ns <= LIVING_NS
            if living or hello.boot < holder.boot:
                raise WireError(TAKEN)
        if not (known or holder) and len(self._by_route) + len(self._claims) >= PEERS_MAX:
            raise WireError("crowded")
        if claim is None:
            self._number += 1
            self._claimed[route] = label = f"{name}\0{self._number}"
        self._claims[label] = Peer(name, hello.boot, route, now_ns, label)
        return label

    def claimant(self, label: str) -> Peer | None:
        """Who waits under this label."""
        return self._claims.get(label)

    def open(self, label: str) -> Opened:
        """The claim is welcome: from now on its route has the name. Raises KeyError if unknown."""
        peer = self.drop(label)
        before = self._by_name.get(peer.name)
        if before is not None:
            self.forget(before)
        self._by_route[peer.route] = self._by_name[peer.name] = peer
        peer.open = True
        return Opened(peer, before if before and before.route != peer.route else None)

    def drop(self, label: str) -> Peer:
        """The claim is no more. Raises KeyError if unknown."""
        peer = self._claims.pop(label)
        del self._claimed[peer.route]
        return peer

    def anybody(self) -> bool:
        """Whether a client is in session."""
        return bool(self._by_name)

    def outlived(self, label: str) -> None:
        """The node has welcomed a claim that is no more, and takes that for the name's session.

        Whoever has the name says Hello again, so that both mean the same one.
        """
        holder = self._by_name.get(label.partition("\0")[0])
        if holder is not None and holder.label != label:
            self.forget(holder)

    def find(self, name: str) -> Peer | None:
        """Who is in session under this name."""
        return self._by_name.get(name)

    def forget(self, peer: Peer) -> None:
        self._by_route.pop(peer.route, None)
        self._by_name.pop(peer.name, None)

    def lost(self, now_ns: int) -> list[Peer]:
        """Forgets and returns the peers that have been silent for too long; so with old claims."""
        for label in [c for c, p in self._claims.items() if now_ns - p.heard_ns > SILENCE_NS]:
            self.drop(label)
        gone = [p for p in self._by_route.values() if now_ns - p.heard_ns > SILENCE_NS]
        for peer in gone:
            self.forget(peer)
        return gone
