"""The screen: standard output and error that cannot end a run.

What a run owes is its record. Nobody may be reading any more, the terminal may be gone, the disk
behind a redirection full, the encoding too small for a dash: then words are lost, and that is all.
"""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any

from contract.errors import UserError


class _Unfailing(io.FileIO):
    """Takes every byte; `failure` is what the other end said when it took one no more."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            self.failure = error
            return memoryview(data).nbytes


def install() -> None:
    """Makes sys.stdout and sys.stderr so. Once a process, before anything is printed.

    A standard descriptor that came closed is opened on nothing, so that no file gets its number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    for number, name in enumerate(("stdout", "stderr"), 1):
        was = getattr(sys, name)
        with suppress(OSError, AttributeError):
            was.flush()
        stream = io.TextIOWrapper(
            io.BufferedWriter(_Unfailing(number, "w", closefd=False)),
            encoding=was.encoding if was is not None else "utf-8",
            errors="replace",
            line_buffering=was is None or was.line_buffering,
        )
        setattr(sys, name, stream)


def failure() -> OSError | None:
    """Why nothing that is printed arrives any more; None as long as it does."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, _Unfailing) else None


def delivered() -> None:
    """For commands whose work is what they print. Raises UserError if it did not all arrive.

    That a reader has had enough is no failure.
    """
    sys.stdout.flush()
    found = failure()
    if found is not None and found.errno != errno.EPIPE:
        raise UserError(f"standard output: {found.strerror}")
