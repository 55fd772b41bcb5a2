"""The screen: standard output and error that cannot end a run.

What a run owes is its record. Nobody may be reading any more, the terminal may be gone, the disk
behind a redirection full, the encoding too small for a dash: then words are lost, and that is all.
"""

import errno
import io
import os
import select
import sys
import time
from contextlib import suppress
from math import inf
from stat import S_ISCHR, S_ISFIFO
from typing import Any

from tierloop.contract.errors import UserError

PIECE_BYTES = select.PIPE_BUF
"""What a pipe takes at once or not at all, so that none that is ready blocks."""
PAUSE_S = 0.01
"""Between two tries where the other end is ready and yet takes nothing."""


class _Unfailing(io.FileIO):
    """Takes every byte; `failure` is what the other end said when it first took one no more."""

    until_s = inf
    """The instant of the monotonic clock to which a reader is waited for."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.failure: OSError | None = None
        self._at = _unblocked(number)

    def write(self, data: Any) -> int:
        bytes_ = memoryview(data).cast("B")
        try:
            while self._ready():
                with suppress(BlockingIOError):
                    return os.write(self._at, bytes_[:PIECE_BYTES])
                if time.monotonic() >= self.until_s:
                    break
                time.sleep(PAUSE_S)
            raise BlockingIOError(errno.EAGAIN, "nobody reads")
        except OSError as error:
            self.failure = self.failure or error
        return bytes_.nbytes

    def _ready(self) -> bool:
        poll = select.poll()
        poll.register(self._at, select.POLLOUT)
        left_s = max(0.0, self.until_s - time.monotonic())
        return bool(poll.poll(None if left_s == inf else 1000 * left_s))


def _unblocked(number: int) -> int:
    """The same pipe or terminal, opened once more so that writing never blocks, if it lets us.

    The descriptor at hand is shared with others, so it stays as it is.
    """
    mode = os.fstat(number).st_mode
    if S_ISFIFO(mode) or (S_ISCHR(mode) and os.isatty(number)):
        with suppress(OSError):
            how = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
            return os.open(f"/proc/self/fd/{number}", how)
    return number


def wait_at_most(seconds: float) -> None:
    """From now on a reader that lags gets so long in all; after that its words are lost.

    Without this, readers are waited for: a pager may take its time, but no run waits for one.
    """
    _Unfailing.until_s = time.monotonic() + seconds


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
            io.BufferedWriter(_Unfailing(number)),
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
