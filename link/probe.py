"""Checks whether anything accepts connections at an address of this host."""

import errno
import socket
from urllib.parse import urlsplit

from tierloop.link.address import IPC

_TAKEN = frozenset((0, errno.EISCONN, errno.EAGAIN))
"""EAGAIN: the queue of a Unix socket is full; then something listens too."""
_UNDECIDED = frozenset((errno.EINPROGRESS, errno.EALREADY))


class Probe:
    """One try of tcp://HOST:PORT or ipc://PATH; no call waits."""

    def __init__(self, address: str) -> None:
        self._place: str | tuple[str | None, int | None]
        if address.startswith(IPC):
            family, self._place = socket.AF_UNIX, address.removeprefix(IPC)
        else:
            parts = urlsplit(address)
            family = socket.AF_INET6 if ":" in (parts.hostname or "") else socket.AF_INET
            self._place = parts.hostname, parts.port
        self._socket = socket.socket(family)
        self._socket.setblocking(False)
        self.listens()

    def listens(self) -> bool | None:
        """None: not known yet. It stays so where the queue of a listener is full."""
        try:
            code = self._socket.connect_ex(self._place)
        except OSError:
            return False  # the host does not know its own name
        return None if code in _UNDECIDED else code in _TAKEN

    def close(self) -> None:
        self._socket.close()
