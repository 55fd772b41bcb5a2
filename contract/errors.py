"""Errors: a user's mistake is raised and ends in one line; a peer's is counted and dropped."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """What the user gave is wrong; one line names the thing and the remedy (exit 2)."""


class SpecError(UserError):
    """A value does not fit its spec; the text names the field and both shapes."""


class WireError(Exception):
    """What a peer sent is refused; `reason` is a short word fit for a counter.

    It never leaves the link: a channel counts it and drops the bytes.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


@contextmanager
def running() -> Iterator[None]:
    """Turns a UserError raised inside into a RuntimeError: a running process has no user."""
    try:
        yield
    except UserError as error:
        raise RuntimeError(f"while running: {error}") from error
