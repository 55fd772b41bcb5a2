"""Scratch: a private folder that goes with its process, or is swept by the next one's if that died.

A process holds a lock on its folder, which the kernel lets go of whatever way the process ends.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "tierloop-run-"
_MEMORY = Path("/dev/shm")


class Scratch:
    """An empty folder at `path`, under `parent` or the system's place for such, until `close`."""

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
    """A scratch folder in memory where the host has such a place, so that no disk sets the pace."""
    return Scratch(_MEMORY if _MEMORY.is_dir() else None)


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
