"""Locks tiers of a record folder for one run while it lives.

The kernel lets go of it whatever way the run ends.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from tierloop.contract.errors import UserError
from tierloop.contract.reading import reading

PREFIX = ".claim-"


class Claim:
    """Holds the tiers `roles` of a record until `close`. Raises UserError if another has one."""

    def __init__(self, out: Path, roles: Iterable[str]) -> None:
        self._held = ExitStack()
        for role in roles:
            path = out / f"{PREFIX}{role}"
            if not self._hold(path):
                self.close()
                raise UserError(
                    f"{out}: another process is running its {role} already; choose another --out"
                )
            self._held.callback(path.unlink, missing_ok=True)

    def close(self) -> None:
        """Lets go of them, and leaves nothing behind."""
        with suppress(OSError):
            self._held.close()

    def _hold(self, path: Path) -> bool:
        while True:
            held = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            self._held.callback(os.close, held)
            if not _locked(held, fcntl.LOCK_EX):
                return False
            if os.fstat(held).st_nlink:  # else its holder let go and removed it in between
                return True


def under_way(out: Path) -> bool:
    """Whether a run claims any tier of the record in `out`. Raises OSError."""
    for path in out.glob(f"{PREFIX}*"):
        held = os.open(path, os.O_RDONLY)
        try:
            if not _locked(held, fcntl.LOCK_SH):
                return True
        finally:
            os.close(held)
    return False


def _locked(held: int, how: int) -> bool:
    try:
        fcntl.flock(held, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def fresh_folder(name: str) -> Iterator[Path]:
    """A new folder under runs/, nobody else's, named after the second; gone if nothing came of it.

    Raises UserError if it cannot be made.
    """
    out = base = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    for number in count(2):
        with reading(out, "choose another --out"):
            try:
                out.mkdir(parents=True)
                break
            except FileExistsError:
                if not base.parent.is_dir():
                    raise
                out = base.with_name(f"{base.name}-{number}")
    try:
        yield out
    finally:
        with suppress(OSError):
            out.rmdir()
