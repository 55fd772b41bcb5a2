"""Loopback ports for tests, of this process's own.

They lie below those that a kernel gives to outgoing connections (32768 and up), and each test
process counts through a stretch of its own, so that none is taken between asking and using.
"""

import os
import socket
from itertools import count

LOW, STRETCH, STRETCHES = 10_000, 100, 200
_asked = count()


def free_address() -> str:
    """An address that nothing listens at, another one each time."""
    while True:
        port = LOW + os.getpid() % STRETCHES * STRETCH + next(_asked) % STRETCH
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return f"tcp://127.0.0.1:{port}"
