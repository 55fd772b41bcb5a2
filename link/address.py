"""Addresses: a socket in a private folder, or loopback. Nothing else is served without keys.

A private socket is PLACE/tierloop-UID/KEY/NAME.sock; both folders are their owner's alone (0700).
Its server holds a lock beside it, which the kernel lets go of however the process ends: what a
killed process left behind is removed by the next server.
"""

import fcntl
import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tierloop.contract.errors import UserError

IPC = "ipc://"
PATH_MAX = 107
"""Bytes of a Unix socket's path at most: sun_path of unix(7), less the byte that ends it."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TCP_REMEDY = "set links.device_edge and links.edge_cloud to tcp://127.0.0.1:PORT"


def check_address(address: str) -> None:
    """Raises UserError unless it is ipc://PATH, or tcp://HOST:PORT on loopback."""
    if address.startswith(IPC):
        path = address.removeprefix(IPC)
        if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > PATH_MAX:
            raise UserError(
                f"address {address!r}: expected ipc:// and an absolute path of at most {PATH_MAX} "
                "bytes"
            )
        return
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise UserError(f"address {address!r}: {error}") from None
    more = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme != "tcp" or not port or more:
        raise UserError(f"address {address!r}: expected tcp://HOST:PORT or ipc://PATH")
    if parts.hostname not in _LOOPBACK:
        raise UserError(
            f"address {address!r}: only loopback addresses are supported; use tcp://127.0.0.1:{port}"
        )


def private(key: str, name: str) -> str:
    """The address of the private socket `name` of whatever goes by `key`, the same for all who ask.

    Makes the folders. Raises UserError where the host has no place for them.
    """
    folder = hashlib.sha256(key.encode()).hexdigest()[:16]
    places = ("/tmp", "/var/tmp", "/dev/shm", f"/run/user/{os.geteuid()}")
    for place in map(Path, places):
        root = place / _root()
        with suppress(OSError):
            _own(root)
            _own(root / folder)
            return f"{IPC}{root / folder / name}.sock"
    raise UserError(
        f"cannot make a private folder for sockets in {', '.join(places)}; {_TCP_REMEDY}"
    )


def hold(address: str) -> Callable[[], None]:
    """Takes an ipc address for a server, for good; what is returned gives it back.

    Raises UserError if another server has it, or if others could reach what is in its folder.
    """
    path = Path(address.removeprefix(IPC))
    try:
        held = _lock(path)
        if stat.S_IMODE(path.parent.stat().st_mode) & 0o077:
            os.close(held)
            raise PermissionError(0, "other users can access it")
    except BlockingIOError:
        raise UserError(
            f"{address}: in use; stop the process that serves there, or choose another --out"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path.parent}: not a private folder: {reason}; {_TCP_REMEDY}") from None
    if path.parent.parent.name == _root():
        _sweep(path.parent)

    def give_back() -> None:
        _remove(path)
        os.close(held)

    return give_back


def _root() -> str:
    return f"tierloop-{os.geteuid()}"


def _own(folder: Path) -> None:
    """Makes a folder that is this user's alone, or finds it. Raises OSError if it is another's."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(0, "it belongs to another user")
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def _lock(path: Path) -> int:
    """The descriptor that holds the lock of a socket. Raises BlockingIOError if another has it."""
    lock, ours = path.with_suffix(".lock"), path.parent.parent.name == _root()
    while True:
        if ours:
            _own(path.parent.parent)
            _own(path.parent)
        try:
            held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            if ours:
                continue  # another's sweep found the folder empty
            raise
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(held).st_ino == lock.stat().st_ino:
                return held
        except FileNotFoundError:
            pass  # it was removed between the opening and the locking
        except BlockingIOError:
            os.close(held)
            raise
        os.close(held)


def _sweep(mine: Path) -> None:
    """Removes the sockets of processes that are no more, in the folders beside `mine`."""
    for folder in mine.parent.iterdir():
        if folder == mine:
            continue
        for name in {left.stem for left in folder.iterdir()}:
            with suppress(OSError):
                held = _lock(folder / f"{name}.sock")
                try:
                    _remove(folder / f"{name}.sock")
                finally:
                    os.close(held)
        with suppress(OSError):
            folder.rmdir()


def _remove(path: Path) -> None:
    """Removes a socket and its lock, and its folder if that is all there was."""
    for each in (path, path.with_suffix(".lock")):
        each.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()
