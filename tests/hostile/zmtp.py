"""What no sender of libzmq would write: half handshakes, broken frames, parts without an end.

Each strike is one connection of its own; a few stay open and are never read. What one of them
may leave behind in the server is bounded here, since over tcp nothing bounds it there.
"""

import contextlib
import random
import socket
import struct
from urllib.parse import urlsplit

OPEN_MAX = 64
"""Connections that stay open at a time; the oldest goes first."""
PARTS = 200
"""Parts of a message that never ends."""

GREETING = b"\xff" + bytes(8) + b"\x7f" + bytes([3, 0]) + b"NULL".ljust(20, b"\0") + bytes(32)


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value


def ready(kind: bytes = b"DEALER", identity: bytes = b"") -> bytes:
    body = b"\x05READY" + _property(b"Socket-Type", kind) + _property(b"Identity", identity)
    return bytes([4, len(body)]) + body


class Breaker:
    """Strikes one address."""

    def __init__(self, address: str, rng: random.Random) -> None:
        self._address, self._rng = address, rng
        self._open: list[socket.socket] = []
        self.struck = 0

    def strike(self) -> None:
        said = self._words()
        with contextlib.suppress(OSError):
            connection = _connect(self._address)
            self._open.append(connection)
            connection.sendall(said)
            self.struck += 1
            if self._rng.random() < 0.7:
                self._open.pop().close()
        while len(self._open) > OPEN_MAX:
            self._open.pop(0).close()

    def _words(self) -> bytes:
        rng = self._rng
        long = GREETING + ready()
        return rng.choice(
            (
                b"",
                rng.randbytes(200),
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                GREETING[: rng.randrange(64)],
                GREETING,
                GREETING[:12] + b"CURVE".ljust(20, b"\0") + bytes(32) + rng.randbytes(200),
                GREETING + ready(rng.choice((b"REQ", b"ROUTER", b"PUB", b"X" * 200))),
                GREETING + ready(identity=rng.randbytes(200)),
                long + bytes([2]) + struct.pack(">Q", rng.choice((2**63, 2**64 - 1, 300_000))),
                long + bytes([rng.randrange(256) | 8, 5]) + b"abcde",
                long + bytes([1, 0]) * PARTS,
                long + bytes([1, 100]) + bytes(100),
                long + bytes([0, 9]) + b"abc",
            )
        )  # fmt: skip


def _connect(address: str) -> socket.socket:
    if address.startswith("ipc://"):
        connection = socket.socket(socket.AF_UNIX)
        target: str | tuple[str, int] = address.removeprefix("ipc://")
    else:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        parts = urlsplit(address)
        target = (str(parts.hostname), int(parts.port or 0))
    connection.settimeout(0.2)
    connection.connect(target)
    return connection
