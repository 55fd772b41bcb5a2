"""What a process prints while it waits for a peer: soon at first, then rarely."""

from tierloop.contract.clock import NS_PER_S
from tierloop.contract.messages import Event
from tierloop.link.channel import Client, Server
from tierloop.link.probe import Probe
from tierloop.link.session import State
from tierloop.link.sockets import ClientSocket, ServerSocket

TOLD_NS = tuple(s * NS_PER_S for s in (2, 10, 60, 600))
"""After so long it is told that nobody is there; from the last on, again each time as long."""
SILENCE = "silence"
"""The name of the event."""


class Wait:
    """When to speak of one peer that is not there."""

    def __init__(self, now_ns: int) -> None:
        self._since_ns, self._told = now_ns, 0

    def look(self, now_ns: int, there: bool) -> bool:
        """Whether it is time to speak of it, once each time."""
        if there:
            self._since_ns, self._told = now_ns, 0
            return False
        last = len(TOLD_NS) - 1
        at_ns = TOLD_NS[min(self._told, last)] * (1 + max(0, self._told - last))
        if now_ns - self._since_ns < at_ns:
            return False
        self._told += 1
        return True


class Waits:
    """The waits of a process: of its client for a server, of its server for `whom`.

    Only what goes over real sockets is judged; `look` is to be called about once a second.
    """

    def __init__(
        self, now_ns: int, client: Client | None, server: Server | None = None, whom: str = ""
    ) -> None:
        self._client, self._server, self._whom = client, server, whom
        self._up, self._down = Wait(now_ns), Wait(now_ns)
        self._probe: Probe | None = None

    def look(self, now_ns: int) -> list[Event]:
        """What there is to say now; waits for nobody."""
        said = (self._for_server(now_ns), self._for_clients(now_ns))
        return [Event(at_ns=now_ns, name=SILENCE, detail=words) for words in said if words]

    def _for_server(self, now_ns: int) -> str:
        client = self._client
        if client is None or not isinstance(client.transport, ClientSocket):
            return ""
        session, address = client.session, client.transport.address
        there, before = session.state is State.OPEN, self._probe
        if self._up.look(now_ns, there):
            self._probe = before or Probe(address)
        if self._probe is None:
            return ""
        listens = self._probe.listens()
        if listens is None and before is None:
            return ""  # known by the next look; what is undecided then has its queue full
        self._probe.close()
        self._probe = None
        if there:
            return ""
        if listens is False:
            return f"nobody listens at {address}"
        if session.refusal:
            return f"what listens at {address} refuses: {session.refusal}"
        return f"something listens at {address} but does not answer"

    def _for_clients(self, now_ns: int) -> str:
        server = self._server
        if server is None or not isinstance(server.transport, ServerSocket):
            return ""
        speak = self._down.look(now_ns, server.session.anybody())
        return f"waiting for {self._whom} on {server.transport.address}" if speak else ""
