"""Reserves space on the disk of a record when a run begins; frees it for the last reports."""

import os
from contextlib import suppress
from pathlib import Path

FILES, FILE_BYTES = 4, 2**19
"""As many as the end of a run writes at once (a part, summary, ledger, report), so that neither
bytes nor inodes lack."""


def paths(folder: Path) -> list[Path]:
    """Where the room of a record is held."""
    return [folder / f".reserve-{n}" for n in range(FILES)]


def free(folder: Path) -> None:
    """Gives the room back, also that of a run that was killed."""
    for path in paths(folder):
        with suppress(OSError):
            path.unlink(missing_ok=True)


class Reserve:
    """Holds the room until `free`. Where the disk is full already, or cannot, there is none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with suppress(OSError):
            for path in paths(folder):
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
                try:
                    os.posix_fallocate(file, 0, FILE_BYTES)
                finally:
                    os.close(file)

    def free(self) -> None:
        """Gives the room back."""
        free(self._folder)
