"""Budget tables: reads the `[[budget]]` tables of a TOML file."""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tierloop.contract.budget import Budget
from tierloop.contract.errors import UserError
from tierloop.stack.config.toml import Source, explain, only_tables


class Placed(NamedTuple):
    """A budget, and the words for where it stands (`FILE:LINE: budget N (metric)`)."""

    budget: Budget
    where: str


def load(path: Path) -> list[Placed]:
    """Reads a file that contains only budgets. Raises UserError in one line."""
    found = read(only_tables(path, "budget"))
    if not found:
        raise UserError(f"{path}: contains no [[budget]] table")
    return found


def read(source: Source) -> list[Placed]:
    """Reads and checks the `[[budget]]` tables of a file. Raises UserError in one line."""
    found: list[Placed] = []
    for number, (place, entry) in enumerate(source.tables("budget"), 1):
        where = f"{place}: budget {_named(number, entry)}"
        try:
            budget = msgspec.convert(entry, Budget)
        except msgspec.ValidationError as error:
            raise UserError(f"{where}: {explain(Budget, str(error))}") from None
        found.append(Placed(budget, where))
    return found


def _named(number: int, entry: dict[str, Any]) -> str:
    metric = entry.get("metric")
    return f"{number} ({metric})" if metric else str(number)
