"""Whether anything takes connections at an address of this host."""

import socket
from urllib.parse import urlsplit

PATIENCE_S = 0.02
"""A listener of this host takes a connection within microseconds, unless its queue is full: then
something listens too."""


def listens(address: str) -> bool:
    """Tries tcp://HOST:PORT or ipc://PATH once, and leaves at once."""
    parts = urlsplit(address)
    ipc = parts.scheme == "ipc"
    family = socket.AF_INET6 if parts.hostname and ":" in parts.hostname else socket.AF_INET
    try:
        with socket.socket(socket.AF_UNIX if ipc else family) as probe:
            probe.settimeout(PATIENCE_S)
            place = parts.netloc + parts.path
            probe.connect(place if ipc else (parts.hostname, parts.port))
    except TimeoutError:
        return True
    except OSError:
        return False
    return True
