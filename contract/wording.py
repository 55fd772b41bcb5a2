"""Words for a complaint about what a user wrote: the word itself, what is known, what is close."""

import difflib
from collections.abc import Iterable

SHOWN_MAX = 64
"""A longer word is cut to so many characters."""


def shown(word: str) -> str:
    """A word that a user wrote, quoted, in one line and cut to SHOWN_MAX, whatever is in it."""
    return repr(word if len(word) <= SHOWN_MAX else word[: SHOWN_MAX - 3] + "...")


def unknown_choice(what: str, word: str, known: Iterable[object]) -> str:
    """The complaint about a word that is none of the known ones: names them and the closest."""
    words = [str(one) for one in known]
    choices = ", ".join(words)
    return f"unknown {what} {shown(word)}; choose one of: {choices}{near(word, words)}"


def near(word: str, known: Iterable[str]) -> str:
    """The words "; did you mean 'x'?" if a known word is close to this one, else nothing."""
    found = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean '{found[0]}'?" if found else ""
