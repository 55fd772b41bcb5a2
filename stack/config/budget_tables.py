"""Budget tables: reads the `[[budget]]` tables of a TOML file."""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tierloop.contract.budget import Budget
from tierloop.contract.errors import UserError
from tierloop.stack.config.toml import Source, explain


class Placed(NamedTuple):
    """A budget, and the words for where it stands (`FILE:LINE: budget N (metric)`)."""

    budget: Budget
    where: str


def load(path: Path) -> list[Placed]:
    """Reads a file that contains only budgets. Raises UserError in one line."""
    source = Source(path)
    if strange := [key for key in source.data if key != "budget"]:
        raise UserError(
            f"{source.where((strange[0],))}: unknown key '{strange[0]}'; "
            "a budget file contains only [[budget]] tables"
        )
    found = read(source)
    if not found:
        raise UserError(f"{path}: contains no [[budget]] table")
    return found


def read(source: Source) -> list[Placed]:
    """Reads and checks the `[[budget]]` tables of a file. Raises UserError in one line."""
    entries = source.data.get("budget", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{source.where(('budget',))}: expected [[budget]] tables")
    found: list[Placed] = []
    for number, entry in enumerate(entries):
        where = f"{source.where(('budget', str(number)))}: budget {_named(number, entry)}"
        try:
            budget = msgspec.convert(entry, Budget)
        except msgspec.ValidationError as error:
            raise UserError(f"{where}: {explain(Budget, str(error))}") from None
        found.append(Placed(budget, where))
    return found


def _named(number: int, entry: dict[str, Any]) -> str:
    metric = entry.get("metric")
    return f"{number + 1} ({metric})" if metric else str(number + 1)
