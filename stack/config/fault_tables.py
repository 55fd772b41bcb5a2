"""Fault tables: reads the `[[fault]]` tables of a TOML file."""

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

import msgspec

from tierloop.contract.errors import UserError
from tierloop.contract.wording import unknown_choice
from tierloop.stack.config.toml import Source, explain, only_tables
from tierloop.stack.faults.kinds import KINDS, Fault, Faults
from tierloop.stack.faults.timeline import entry_name


def load(path: Path, robots: Sequence[str], lasts_s: float = inf) -> Faults:
    """Reads a file that contains only faults, for a run of `lasts_s` seconds with these robots.

    Raises UserError in one line, also for a fault that begins after the end of the run.
    """
    return read(only_tables(path, "fault"), robots, lasts_s)


def read(source: Source, robots: Sequence[str], lasts_s: float = inf) -> Faults:
    """Reads and checks the `[[fault]]` tables of a file, as `load` does."""
    faults = []
    for number, (where, entry) in enumerate(source.tables("fault"), 1):
        try:
            fault = _convert(entry)
            fault.check(robots)
            if fault.at_s >= lasts_s:
                raise ValueError(f"at_s {fault.at_s:g} is after the end of the run ({lasts_s:g} s)")
        except ValueError as error:
            raise UserError(f"{where}: {entry_name(number, entry.get('kind'))}: {error}") from None
        faults.append(fault)
    return tuple(faults)


def _convert(entry: dict[str, Any]) -> Fault:
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        if kind is None:
            raise ValueError(f"key 'kind': missing; choose one of: {', '.join(KINDS)}")
        raise ValueError(unknown_choice("kind", str(kind), KINDS))
    try:
        fault: Fault = msgspec.convert(entry, Fault)
    except msgspec.ValidationError as error:
        raise ValueError(explain(KINDS[kind], str(error))) from None
    return fault
