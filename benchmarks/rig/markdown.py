"""Tables as documents have them, so that a document shows what a command printed."""

from collections.abc import Iterable


def row(*cells: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A whole one."""
    heads = tuple(heads)
    return "\n".join(row(*cells) for cells in (heads, ("---",) * len(heads), *rows))
