"""Timelines of faults: read from `[[fault]]` tables, and asked what befalls whom and when."""

from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tierloop.contract.clock import NS_PER_S
from tierloop.contract.errors import UserError
from tierloop.link.model import Conditions
from tierloop.stack.config.toml import Source, explain, unknown_choice
from tierloop.stack.faults.kinds import (
    KINDS,
    SLOWEST,
    ClockDrift,
    Direction,
    Fault,
    Faults,
    LinkFault,
)


def check(faults: Faults, robots: Sequence[str]) -> None:
    """Raises ValueError naming the first entry that does not fit a deployment with `robots`."""
    for number, fault in enumerate(faults, 1):
        try:
            fault.check(robots)
        except ValueError as error:
            raise ValueError(f"{_name(number, fault.kind)}: {error}") from None


def load(path: Path, robots: Sequence[str], lasts_s: float = inf) -> Faults:
    """The faults of a file that holds nothing else. Raises UserError in one line.

    None of them may begin after the run, which `lasts_s`.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; name one with [[fault]] tables")
    source = Source(path)
    strange = [key for key in source.data if key != "fault"]
    if strange:
        raise UserError(
            f"{source.where((strange[0],))}: unknown key '{strange[0]}'; "
            "a file of faults holds [[fault]] tables alone"
        )
    return read(source, robots, lasts_s)


def read(source: Source, robots: Sequence[str], lasts_s: float = inf) -> Faults:
    """The `[[fault]]` tables of a file, checked one by one. Raises UserError in one line."""
    entries = source.data.get("fault", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{source.where(('fault',))}: expected [[fault]] tables")
    faults = []
    for number, entry in enumerate(entries, 1):
        try:
            fault = _convert(entry)
            fault.check(robots)
            if fault.at_s >= lasts_s:
                raise ValueError(f"at_s {fault.at_s:g} is past the run's end ({lasts_s:g} s)")
        except ValueError as error:
            where = source.where(("fault", str(number - 1)))
            raise UserError(f"{where}: {_name(number, entry.get('kind'))}: {error}") from None
        faults.append(fault)
    return tuple(faults)


def _name(number: int, kind: Any) -> str:
    return f"fault {number} ({kind})" if kind else f"fault {number}"


def _convert(entry: dict[str, Any]) -> Fault:
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        if kind is None:
            raise ValueError(f"key 'kind' missing; choose one of: {', '.join(KINDS)}")
        raise ValueError(unknown_choice("kind", str(kind), KINDS))
    try:
        fault: Fault = msgspec.convert(entry, Fault)
    except msgspec.ValidationError as error:
        raise ValueError(explain(KINDS[kind], str(error))) from None
    return fault


class Span(NamedTuple):
    """From `begin_ns` to before `end_ns`, in true time."""

    begin_ns: int
    end_ns: int


def spans(faults: Faults, kind: type, began_ns: int) -> list[Span]:
    """When faults of one kind last."""
    return [Span(began_ns + f.begin_ns, began_ns + f.end_ns) for f in faults if isinstance(f, kind)]


def within(spans: list[Span], now_ns: int) -> bool:
    return any(span.begin_ns <= now_ns < span.end_ns for span in spans)


def own(faults: Faults, process: str, robots: Sequence[str]) -> Faults:
    """The faults that befall a process itself, not its links."""
    return tuple(f for f in faults if not isinstance(f, LinkFault) and process in f.names(robots))


def slowest_rate(faults: Faults) -> float:
    """How fast the clock of a process with these faults runs at its slowest; 1 is right."""
    ppm = sum(min(0.0, fault.ppm) for fault in faults if isinstance(fault, ClockDrift))
    return max(SLOWEST, 1 + ppm * 1e-6)


class Change(NamedTuple):
    """From `at_ns` after the beginning on, these conditions hold in one direction of a link."""

    at_ns: int
    conditions: Conditions


def changes(
    faults: Faults, lower: str, robots: Sequence[str], direction: Direction
) -> list[Change]:
    """What becomes of one direction of the link whose lower end is the process `lower`."""
    sides = ("both", direction)
    on_links = [f for f in faults if isinstance(f, LinkFault) and f.direction in sides]
    mine = [f for f in on_links if lower in f.names(robots)]
    found = []
    for at_ns in sorted({t for f in mine for t in (f.begin_ns, f.end_ns)}):
        conditions = Conditions()
        for fault in mine:
            if fault.begin_ns <= at_ns < fault.end_ns:
                fault.worsen(conditions)
        found.append(Change(at_ns, conditions))
    return found


def told(faults: Faults) -> Iterator[tuple[int, str, str, str]]:
    """The events of a timeline in order: when, on what, `fault.<kind>` or `fault.over`, words."""
    lines = []
    for fault in faults:
        lasts = fault.end_ns > fault.begin_ns
        own = {
            name: getattr(fault, name)
            for name in fault.__struct_fields__
            if name not in ("at_s", "target", "for_s")
        }
        words = [f"{name} {value}" for name, value in own.items()]
        words += [f"until {fault.end_ns / NS_PER_S:g} s"] if lasts else []
        lines.append((fault.begin_ns, fault.target, f"fault.{fault.kind}", ", ".join(words)))
        if lasts:
            lines.append((fault.end_ns, fault.target, "fault.over", fault.kind))
    yield from sorted(lines, key=lambda line: line[0])
