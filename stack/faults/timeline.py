"""Answers what a list of faults does to which process or link, and when."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tierloop.contract.clock import NS_PER_S
from tierloop.link.model import Conditions
from tierloop.stack.faults.kinds import SLOWEST, ClockDrift, Direction, Faults, LinkFault


def check(faults: Faults, robots: Sequence[str]) -> None:
    """Raises ValueError naming the first entry that does not fit a deployment with `robots`."""
    for number, fault in enumerate(faults, 1):
        try:
            fault.check(robots)
        except ValueError as error:
            raise ValueError(f"{entry_name(number, fault.kind)}: {error}") from None


def entry_name(number: int, kind: object) -> str:
    """What a complaint calls entry `number` (from 1) of a list of faults."""
    return f"fault {number} ({kind})" if kind else f"fault {number}"


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
    """The faults of this process itself, without those of its links."""
    return tuple(f for f in faults if not isinstance(f, LinkFault) and process in f.names(robots))


def slowest_rate(faults: Faults) -> float:
    """The slowest rate at which the clock of a process with these faults runs; 1 is right."""
    ppm = sum(min(0.0, fault.ppm) for fault in faults if isinstance(fault, ClockDrift))
    return max(SLOWEST, 1 + ppm * 1e-6)


class Change(NamedTuple):
    """From `at_ns` after the beginning on, these conditions hold in one direction of a link."""

    at_ns: int
    conditions: Conditions


def changes(
    faults: Faults, lower: str, robots: Sequence[str], direction: Direction
) -> list[Change]:
    """The conditions over time in one direction of the link whose lower end is `lower`.

    `lower` is a process: a robot, or the edge on its link with the cloud.
    """
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
