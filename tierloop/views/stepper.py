"""Shows a replay: lines in a pipe, one moment at a time in a terminal."""

import sys
import termios
import tty
from collections.abc import Iterable, Sequence
from itertools import chain

from rich.console import Console
from rich.table import Table

from tierloop.contract.ledger import LEDGER
from tierloop.stack import screen
from tierloop.views.moments import Moment, line

KEYS = "n next decision   p previous decision   e next event   q quit"
_NEAR = 6
"""How many moments before and after the one under the cursor are shown."""


def show(moments: Sequence[Moment], origin_ns: int, after: Sequence[str]) -> None:
    """Steps through `moments` if a person is there, else prints them; then the lines `after`."""
    if moments and sys.stdin.isatty() and sys.stdout.isatty():
        _step(moments, origin_ns)
        lines: Iterable[str] = after
    else:
        lines = chain((line(moment, origin_ns) for moment in moments), after)
    for text in lines:
        print(text)
        if screen.failure() is not None:
            break
    screen.delivered()


def moved(moments: Sequence[Moment], at: int, key: str) -> int:
    """Where the cursor is after `key`; it stays where there is nothing further."""
    if key == "p":
        return next((i for i in range(at - 1, -1, -1) if moments[i].row), at)
    if key in ("n", "e"):
        wanted = key == "n"
        return next((i for i in range(at + 1, len(moments)) if bool(moments[i].row) is wanted), at)
    return at


def _step(moments: Sequence[Moment], origin_ns: int) -> None:
    console, at = Console(), 0
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        with console.screen():
            while True:
                _draw(console, moments, at, origin_ns)
                key = sys.stdin.read(1)
                if key in ("q", "\x04", ""):
                    break
                at = moved(moments, at, key)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _draw(console: Console, moments: Sequence[Moment], at: int, origin_ns: int) -> None:
    console.clear()
    for i in range(max(0, at - _NEAR), min(len(moments), at + _NEAR + 1)):
        style = "reverse" if i == at else "dim"
        console.print(
            line(moments[i], origin_ns),
            style=style, markup=False, highlight=False, no_wrap=True, overflow="ellipsis",
        )  # fmt: skip
    if row := moments[at].row:
        table = Table(box=None, show_header=False)
        for column in LEDGER[: max(0, console.height - 2 * _NEAR - 4)]:
            table.add_row(column.name, str(row[column.name]), column.doc, style="none")
        console.print(table)
    console.print(f"{at + 1} of {len(moments)}   {KEYS}", highlight=False, no_wrap=True)
