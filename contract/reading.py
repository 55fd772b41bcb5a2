"""Reads files safely: inside `reading`, whatever is wrong with one becomes a one-line error."""

from collections.abc import Iterator
from contextlib import contextmanager

from tierloop.contract.errors import UserError


class Unreadable(UserError):
    """A file cannot be read; `why` is what is wrong with it, without its name."""

    def __init__(self, what: object, why: str, remedy: str) -> None:
        super().__init__(f"{what}: {why}{remedy and f'; {remedy}'}")
        self.why = why


@contextmanager
def reading(what: object, remedy: str = "") -> Iterator[None]:
    """Turns whatever goes wrong inside into an Unreadable that names the file and the remedy.

    Bytes on a disk may be anything: cut, bent, another's, a folder. What their decoders raise is no
    fault of the program, so none is let through but a UserError that names the file already.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) and str(what) in str(error):
            raise
        raise Unreadable(what, _words(error), remedy) from error


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, UnicodeDecodeError):
        return f"no text (byte {error.start})"
    return " ".join(str(error).split()) or type(error).__name__
