"""Fault tables: reads the `[[fault]]` tables of a TOML file."""

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

import msgspec

from tierloop.contract.errors import UserError
from tierloop.contract.wording import unknown_choice
from tierloop.stack.config.toml import Source, explain
from tierloop.stack.faults.kinds import KINDS, Fault, Faults
from tierloop.stack.faults.timeline import entry_name


def load(path: Path, robots: Sequence[str], lasts_s: float = inf) -> Faults:
    """Reads a file that contains only faults, for a run of `lasts_s` seconds with these robots.

    Raises UserError in one line, also for a fault that begins after the end of the run.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a file of [[fault]] tables")
    source = Source(path)
    strange = [key for key in source.data if key != "fault"]
    if strange:
        raise UserError(
            f"{source.where((strange[0],))}: unknown key '{strange[0]}'; "
            "a fault file contains only [[fault]] tables"
        )
    return read(source, robots, lasts_s)


def read(source: Source, robots: Sequence[str], lasts_s: float = inf) -> Faults:
    """Reads and checks the `[[fault]]` tables of a file, as `load` does."""
    entries = source.data.get("fault", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{source.where(('fault',))}: expected [[fault]] tables")
    faults = []
    for number, entry in enumerate(entries, 1):
        try:
            fault = _convert(entry)
            fault.check(robots)
            if fault.at_s >= lasts_s:
                raise ValueError(f"at_s {fault.at_s:g} is after the end of the run ({lasts_s:g} s)")
        except ValueError as error:
            where = source.where(("fault", str(number - 1)))
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
