"""A little room on the record's disk, taken when a run begins and let go for its last words."""

import os
from contextlib import suppress
from pathlib import Path

FILES, FILE_BYTES = 4, 2**19
"""As many as the end of a run writes at once (a part, summary, ledger, report), so that neither
bytes nor inodes lack."""


class Reserve:
    """Holds the room until `free`. Where the disk is full already, or cannot, there is none."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f".reserve-{n}" for n in range(FILES)]
        with suppress(OSError):
            for path in self._paths:
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
                try:
                    os.posix_fallocate(file, 0, FILE_BYTES)
                finally:
                    os.close(file)

    def free(self) -> None:
        """Gives the room back."""
        for path in self._paths:
            with suppress(OSError):
                path.unlink(missing_ok=True)
