"""Scratch folders: deleted when their process ends, or by the next one if it was killed.

A process holds a lock on its folder, which the kernel lets go of whatever way the process ends.
"""

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from tierloop.contract.errors import UserError

PREFIX = "tierloop-run-"
_MEMORY = Path("/dev/shm")
_SYSTEM = (Path("/tmp"), Path("/var/tmp"), _MEMORY)

MEMORY_ROOM = 64 * 2**20
"""Bytes free in memory from which on a run's state may lie there: several hours of it."""

SOCKET_BYTES = 107
"""The longest address of a Unix socket: unix(7), less the byte that ends it."""


class Scratch:
    """An empty folder at `path`, under `parent` or the system's place for such, until `close`.

    Raises OSError if it cannot be made there.
    """

    def __init__(self, parent: Path | None = None) -> None:
        where = parent or Path(tempfile.gettempdir())
        for left in where.glob(f"{PREFIX}*"):
            if (lock := _lock(left)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)
        held = None
        while held is None:  # another's sweep may come between the making and the lock
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=where))
            held = _lock(self.path)
        self._held = held

    def close(self) -> None:
        """Deletes the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._held)


def in_memory() -> Scratch:
    """A scratch folder in memory where the host has room there, so that no disk sets the pace.

    Raises UserError if there is no place for one at all.
    """
    try:
        return first(lambda folder: free_bytes(folder) >= MEMORY_ROOM, (_MEMORY,))
    except OSError as error:
        raise UserError(str(error)) from None


def first(fit: Callable[[Path], bool], liked: tuple[Path, ...] = ()) -> Scratch:
    """A scratch folder that is fit, in the first place where there is one; `liked` come first.

    Raises OSError, with the places tried, if there is none.
    """
    tried = dict.fromkeys((*liked, *_places()))
    for place in tried:
        with suppress(OSError):
            scratch = Scratch(place)
            if fit(scratch.path):
                return scratch
            scratch.close()
    where = ", ".join(map(str, tried))
    raise OSError(f"no fit folder in {where}; name one in TMPDIR that can be written, with room")


def free_bytes(folder: Path) -> int:
    """What may be written there; 0 if nothing can be."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x" * 4096)
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def takes_sockets(folder: Path, below: str) -> bool:
    """Whether a Unix socket can be made under `folder` at a path as long as `below`."""
    name = str(folder.absolute())
    if len(os.fsencode(name)) + len(below) > SOCKET_BYTES:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(f"{name}/.probe")
            (folder / ".probe").unlink()
        except OSError:
            return False
    return True


def _places() -> Iterator[Path]:
    with suppress(FileNotFoundError):  # no such place at all
        yield Path(tempfile.gettempdir())
    yield from _SYSTEM
    if private := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(private)


def _lock(folder: Path) -> int | None:
    """The descriptor that holds the lock, or None if another has it or the folder is gone."""
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    with suppress(OSError):
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder.exists():
            return held
    os.close(held)
    return None
