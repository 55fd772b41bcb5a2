"""The one door to ZeroMQ: bounded, size-capped, non-blocking sockets on loopback addresses."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import zmq

from contract.clock import NS_PER_MS
from contract.codec import Codec
from contract.errors import SpecError, UserError, WireError
from contract.messages import Report
from contract.streams import DEPTH, socket_cap_bytes
from link.framing import CHECK_BYTES

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

HIGH_WATER = 256
"""Messages ZeroMQ may queue per peer and direction before it says no."""

LAST_WORDS_MS = 500
"""How long a process that ends waits for the roof to take its last report."""

NEVER_NS = 2**63 - 1

_RECONNECT_MS = (50, 1000)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def check_loopback(address: str) -> None:
    """Raises UserError unless `address` is tcp://HOST:PORT on loopback."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise UserError(f"address {address!r}: {error}") from None
    if parts.scheme != "tcp" or not port:
        raise UserError(f"address {address!r}: expected tcp://HOST:PORT")
    if parts.hostname not in _LOOPBACK:
        raise UserError(
            f"address {address!r}: only loopback is served without keys; use tcp://127.0.0.1:{port}"
        )


def check_free(address: str) -> None:
    """Raises UserError if something already listens at `address`."""
    check_loopback(address)
    context = zmq.Context()
    try:
        with context.socket(zmq.ROUTER) as probe:
            probe.bind(address)
    except zmq.ZMQError as error:
        raise _bind_error(address, error) from None
    finally:
        context.destroy(linger=0)


def _bind_error(address: str, error: zmq.ZMQError) -> UserError:
    if error.errno == zmq.EADDRINUSE:
        return UserError(
            f"{address}: the port is in use; stop what listens there or choose another"
        )
    return UserError(f"{address}: cannot listen: {error}")


def _socket(kind: int, context: Context | None = None) -> Socket:
    socket: Socket = (context or zmq.Context.instance()).socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
    socket.setsockopt(zmq.MAXMSGSIZE, socket_cap_bytes() + CHECK_BYTES)
    socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS[0])
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MS[1])
    socket.setsockopt(zmq.HANDSHAKE_IVL, 2000)
    return socket


_send = zmq.backend.Socket.send
_receive = zmq.backend.Socket.recv
"""The compiled calls; the wrappers around them cost more than the rest of a decision's way."""

_EVENTS, _POLLIN, _NOBLOCK = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)


def _readable(socket: Socket) -> bool:
    """Whether a whole message is there; to ask is cheaper than to try and fail."""
    return bool(int(socket.get(_EVENTS)) & _POLLIN)


def _last_part(socket: Socket) -> bytes:
    """The part that ends a message of ours; of a longer, foreign one nothing but b""."""
    frame = _receive(socket, _NOBLOCK, False)
    if not frame.more:
        return frame.bytes
    while frame.more:
        frame = _receive(socket, _NOBLOCK, False)
    return b""


class ClientSocket:
    """One connection to a server. Not thread-safe; no call waits.

    `ready`: a Poller has just seen a message, so that the next `receive` need not look.
    """

    def __init__(self, address: str) -> None:
        check_loopback(address)
        self.ready = False
        self.raw = _socket(zmq.DEALER)
        self.raw.setsockopt(zmq.IMMEDIATE, 1)
        self.raw.connect(address)

    def send(self, data: bytes) -> bool:
        """Hands a message to the link; False if it is full or not connected."""
        try:
            _send(self.raw, data, _NOBLOCK)
        except zmq.Again:
            return False
        return True

    def receive(self) -> bytes | None:
        """The next message, or None."""
        if not (self.ready or _readable(self.raw)):
            return None
        self.ready = False
        return _last_part(self.raw)

    @property
    def due_ns(self) -> int:
        """When this is to be looked at though nothing comes in, by the host's clock."""
        return NEVER_NS

    def counters(self) -> dict[str, float]:
        """What the link made of the frames, where it is a modelled one."""
        return {}

    def close(self) -> None:
        self.raw.close()


class ServerSocket:
    """Many connections, each under a route the link chose. Not thread-safe; no call waits."""

    def __init__(self, address: str) -> None:
        check_loopback(address)
        self.ready = False
        self.raw = _socket(zmq.ROUTER)
        self.raw.setsockopt(zmq.ROUTER_MANDATORY, 1)
        try:
            self.raw.bind(address)
        except zmq.ZMQError as error:
            self.raw.close()
            raise _bind_error(address, error) from None

    def send(self, route: bytes, data: bytes) -> bool:
        """Hands a message to the link; False if the route is full or gone."""
        try:
            _send(self.raw, route, _MORE)
            _send(self.raw, data, _NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    def receive(self) -> tuple[bytes, bytes] | None:
        """The next message's route and bytes, or None."""
        if not (self.ready or _readable(self.raw)):
            return None
        self.ready = False
        return _receive(self.raw, _NOBLOCK), _last_part(self.raw)

    def close(self) -> None:
        self.raw.close()


class Poller:
    """Waits for the first of several sockets, or for a wake-up from another thread."""

    def __init__(self, sockets: Sequence[ClientSocket | ServerSocket]) -> None:
        self._wake: Socket = zmq.Context.instance().socket(zmq.PULL)
        self._address = f"inproc://wake-{id(self)}"
        self._wake.bind(self._address)
        self._waited = [(raw, _POLLIN) for raw in (*(s.raw for s in sockets), self._wake)]
        self._sockets: dict[Any, tuple[int, ClientSocket | ServerSocket]] = {
            s.raw: (i, s) for i, s in enumerate(sockets)
        }
        self._clients = [(i, s) for i, s in enumerate(sockets) if isinstance(s, ClientSocket)]

    def wait(self, timeout_ms: float) -> list[int]:
        """The places of the sockets to look at, at the latest after `timeout_ms`."""
        ready = []
        due_ns = min((s.due_ns for _, s in self._clients), default=NEVER_NS)
        if due_ns != NEVER_NS:
            timeout_ms = min(timeout_ms, max(0, due_ns - time.monotonic_ns()) / NS_PER_MS)
        for raw, _ in zmq.zmq_poll(self._waited, int(timeout_ms)):
            if raw is self._wake:
                with contextlib.suppress(zmq.Again):
                    while True:
                        self._wake.recv(zmq.NOBLOCK)
            else:
                i, socket = self._sockets[raw]
                socket.ready = True
                ready.append(i)
        if due_ns != NEVER_NS and due_ns <= time.monotonic_ns():
            ready += [i for i, s in self._clients if s.due_ns <= due_ns and i not in ready]
        return ready

    def waker(self) -> "Waker":
        """A handle with which one other thread ends a wait."""
        return Waker(self._address)

    def close(self) -> None:
        self._wake.close(linger=0)


class Waker:
    """Ends a Poller's wait; to be made and used in one thread."""

    def __init__(self, address: str) -> None:
        self._socket: Socket = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(address)

    def wake(self) -> None:
        with contextlib.suppress(zmq.Again):
            self._socket.send(b"", zmq.NOBLOCK)

    def close(self) -> None:
        self._socket.close()


class ReportSource:
    """A process's end of the way to the roof."""

    def __init__(self, address: str) -> None:
        check_loopback(address)
        self._codec = Codec()
        self._context = zmq.Context()
        self._socket = _socket(zmq.PUSH, self._context)
        self._socket.setsockopt(zmq.SNDHWM, DEPTH[Report])
        self._socket.connect(address)

    def send(self, report: Report) -> bool:
        """Hands a report over; False if the queue to the roof is full or the report too big."""
        try:
            self._socket.send(self._codec.encode(report), zmq.NOBLOCK)
        except (zmq.Again, SpecError):
            return False
        return True

    def close(self) -> None:
        """Waits until what is queued has left, LAST_WORDS_MS at most."""
        self._context.destroy(LAST_WORDS_MS)


class ReportSink:
    """The roof's end: collects the reports of all processes."""

    def __init__(self, bind: str = "tcp://127.0.0.1:*") -> None:
        self._codec = Codec()
        self._socket = _socket(zmq.PULL)
        self._socket.bind(bind)
        self.address: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.malformed = 0

    def poll(self, timeout_ms: float) -> list[Report]:
        """All reports at hand, after waiting up to `timeout_ms` for the first."""
        reports: list[Report] = []
        if not self._socket.poll(int(timeout_ms)):
            return reports
        with contextlib.suppress(zmq.Again):
            while True:
                data = b"".join(self._socket.recv_multipart(zmq.NOBLOCK))
                try:
                    message = self._codec.decode(data)
                except WireError:
                    self.malformed += 1
                    continue
                if isinstance(message, Report):
                    reports.append(message)
                else:
                    self.malformed += 1
        return reports

    def close(self) -> None:
        self._socket.close()
