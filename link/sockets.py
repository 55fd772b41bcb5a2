"""The one door to ZeroMQ: bounded, size-capped, non-blocking sockets on addresses of this host."""

import os
import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import zmq

from tierloop.contract.clock import NS_PER_MS
from tierloop.contract.errors import UserError
from tierloop.contract.streams import socket_cap_bytes
from tierloop.link.address import IPC, check_address, hold

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

HIGH_WATER = 256
"""Messages ZeroMQ may queue per direction for a client, or for the roof, before it says no."""

PEER_HIGH_WATER = 16
"""The same for each peer of a server, who may be anyone: 4 MiB of the largest there are."""

NEVER_NS = 2**63 - 1

_RECONNECT_MS = (50, 1000)


def check_free(address: str) -> None:
    """Raises UserError if something already listens at `address`."""
    context = zmq.Context()
    try:
        with context.socket(zmq.ROUTER) as probe:
            listen(probe, address)()
    finally:
        context.destroy(linger=0)


def listen(socket: Socket, address: str) -> Callable[[], None]:
    """Listens at an address; what is returned gives back what is to be given back.

    Raises UserError if the address is unfit or taken.
    """
    check_address(address)
    give_back = hold(address) if address.startswith(IPC) else lambda: None
    socket.setsockopt(zmq.IPV6, "[" in address)
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        give_back()
        raise _bind_error(address, error) from None
    return give_back


def _bind_error(address: str, error: zmq.ZMQError) -> UserError:
    if error.errno == zmq.EADDRINUSE:
        return UserError(
            f"{address}: the port is in use; stop the process that listens there, or choose "
            "another port"
        )
    return UserError(f"{address}: cannot listen: {error}")


def bounded(kind: int, context: Context | None = None) -> Socket:
    """A socket whose queues and messages are bounded and that never holds up its process's end."""
    socket: Socket = (context or zmq.Context.instance()).socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
    socket.setsockopt(zmq.MAXMSGSIZE, socket_cap_bytes())
    socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS[0])
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MS[1])
    socket.setsockopt(zmq.HANDSHAKE_IVL, 2000)
    return socket


_send = zmq.backend.Socket.send
_receive = zmq.backend.Socket.recv
"""The compiled calls; the wrappers around them cost more than the rest of a decision's way.

Whether a message is there is asked of _EVENTS: cheaper than to try and fail.
"""

_EVENTS, _POLLIN, _NOBLOCK = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)


def _nothing(socket: Socket) -> bytes:
    """What is left of a foreign message of several parts: it is read to its end, for b""."""
    while _receive(socket, _NOBLOCK, False).more:
        pass
    return b""


class ClientSocket:
    """One connection to a server. Not thread-safe; no call waits.

    `ready`: a Poller has just seen a message, so that the next `receive` need not look. `timed`: it
    is also to be looked at when nothing comes in, at `due_ns` by the host's clock.
    """

    timed = False
    due_ns = NEVER_NS

    def __init__(self, address: str) -> None:
        check_address(address)
        self.address, self.ready = address, False
        self.raw = bounded(zmq.DEALER)
        self.raw.setsockopt(zmq.IMMEDIATE, 1)
        self.raw.setsockopt(zmq.IPV6, "[" in address)
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
        raw = self.raw
        if not (self.ready or int(raw.get(_EVENTS)) & _POLLIN):
            return None
        self.ready = False
        frame = _receive(raw, _NOBLOCK, False)
        return _nothing(raw) if frame.more else frame.bytes

    def counters(self) -> dict[str, float]:
        """What the link made of the frames, where it is a modelled one."""
        return {}

    def close(self) -> None:
        self.raw.close()


class ServerSocket:
    """Many connections, each under a route the link chose. Not thread-safe; no call waits."""

    def __init__(self, address: str) -> None:
        self.address, self.ready = address, False
        self.raw = bounded(zmq.ROUTER)
        self.raw.setsockopt(zmq.SNDHWM, PEER_HIGH_WATER)
        self.raw.setsockopt(zmq.RCVHWM, PEER_HIGH_WATER)
        self.raw.setsockopt(zmq.ROUTER_MANDATORY, 1)
        try:
            self._give_back = listen(self.raw, address)
        except UserError:
            self.raw.close()
            raise

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
        raw = self.raw
        if not (self.ready or int(raw.get(_EVENTS)) & _POLLIN):
            return None
        self.ready = False
        route, frame = _receive(raw, _NOBLOCK), _receive(raw, _NOBLOCK, False)
        return route, _nothing(raw) if frame.more else frame.bytes

    def close(self) -> None:
        self.raw.close()
        self._give_back()


class Poller:
    """Waits for the first of several sockets, or for a wake-up from another thread."""

    def __init__(self, sockets: Sequence[ClientSocket | ServerSocket]) -> None:
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._open, self._lock = True, Lock()
        self._waited: list[tuple[Any, int]] = [(s.raw, _POLLIN) for s in sockets]
        self._waited.append((self._waker, _POLLIN))
        self._sockets: dict[Any, tuple[int, ClientSocket | ServerSocket]] = {
            s.raw: (i, s) for i, s in enumerate(sockets)
        }
        self._timed = [
            (i, s) for i, s in enumerate(sockets) if isinstance(s, ClientSocket) and s.timed
        ]

    def wait(self, timeout_ms: float) -> list[int]:
        """The places of the sockets to look at, at the latest after `timeout_ms`."""
        ready, due_ns = [], NEVER_NS
        if self._timed:
            due_ns = min(s.due_ns for _, s in self._timed)
            timeout_ms = min(timeout_ms, max(0, due_ns - time.monotonic_ns()) / NS_PER_MS)
        found: list[tuple[Any, int]] = zmq.zmq_poll(self._waited, int(timeout_ms))
        for raw, _ in found:
            if raw == self._waker:
                os.eventfd_read(self._waker)
            else:
                i, socket = self._sockets[raw]
                socket.ready = True
                ready.append(i)
        if self._timed and due_ns <= time.monotonic_ns():
            ready += [i for i, s in self._timed if s.due_ns <= due_ns and i not in ready]
        return ready

    def wake(self) -> None:
        """Ends a wait, or the next one; from any thread, also after `close`."""
        with self._lock:
            if self._open:
                os.eventfd_write(self._waker, 1)

    def close(self) -> None:
        with self._lock:
            self._open = False
            os.close(self._waker)
