"""The invariants of a run: counts violations of each in the record."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise

from tierloop.contract.clock import NS_PER_S
from tierloop.contract.counters import (
    CARRIED,
    DELIVERED,
    DUPLICATED,
    FAILED,
    INVARIANT,
    LOST,
    MESSAGES_RECEIVED,
    MESSAGES_SENT,
    OFFERED,
    UNDER_WAY,
    UNREACHABLE,
    WAYS,
    member,
    members,
)
from tierloop.policy.journal import Entry
from tierloop.stack.record.audit import Audit
from tierloop.stack.record.energy import unbalanced
from tierloop.stack.record.record import DEVICE, ROOF, Record

FAULTS = frozenset({"died", "hung", "restarted", "killed"})
"""Names of the supervisor's events that count as faults."""

RAISED_NS = 30 * NS_PER_S
"""A cloud that has lived this long has raised its workers; one that has not may be at it still."""

_CONSERVED = ("observation", "action", "sealed", "part")
_TIERS = {"device", "edge", "cloud"}


def invariants(record: Record, audit: Audit) -> dict[str, int]:
    """Violations by name; 0 means that it held. The worse of both counts where two judge."""
    tallies = [life.tally for life in record.of(DEVICE)]
    found = {
        "stale_action": sum(tally.stale for tally in tallies),
        "action_order": sum(tally.disordered for tally in tallies),
    }
    found["version_regress"] = regressed(record, audit.steps)
    found["ticks_uncounted"] = sum(uncounted(life.last.counters) for life in record.of(DEVICE))
    found["exactly_once"] = audit.duplicate
    found["nothing_acked_lost"] = audit.missing
    found["nothing_altered"] = audit.altered
    found["conservation"] = invented(record) + unaccounted(record)
    found["energy_conserved"] = unbalanced(record)
    found["workers_up"] = unraised(record)
    for name, value in members(INVARIANT, record.counters()).items():
        found[name] = max(found.get(name, 0), int(value))
    return found


def regressed(record: Record, steps: Sequence[Entry]) -> int:
    """Steps back to a lower policy version that the edge has not put on record.

    `steps`: what the edge put in force, in order. What acted on a device is to be a part of it, in
    the same order; where there is no edge on this host, nothing is judged.
    """
    if not steps:
        return 0
    found = sum(
        step.action == "activate" and step.version < before.version
        for before, step in pairwise(steps)
    )
    acted: dict[str, list[int]] = defaultdict(list)
    for life in sorted(record.of(DEVICE), key=lambda life: life.boot):
        acted[life.process] += life.tally.versions
    for versions in acted.values():
        recorded = iter([step.version for step in steps])
        found += sum(version not in recorded for version, _ in groupby(versions))
    return found


def uncounted(counters: Mapping[str, float]) -> int:
    """Ticks that were due and neither done nor counted as missed; one may be under way."""
    done = counters.get("ticks", 0) + counters.get("missed", 0)
    return int(max(0, counters.get("ticks.due", 0) - done - 1))


def unraised(record: Record) -> int:
    """1 if the cloud's last life never raised its workers, though it tried and had the time."""
    last = max(record.of("cloud"), key=lambda life: life.boot, default=None)
    if last is None or last.last.gauges.get("workers.up") != 0:
        return 0
    failed = last.last.counters.get(member(FAILED, "raise"), 0) > 0
    return int(failed or last.last.at_ns - last.first_ns >= RAISED_NS)


def invented(record: Record) -> int:
    """Messages received that nobody sent, beyond those that a link brought twice.

    Judged only where all three tiers were heard to the end: a killed process takes up to a
    second of its counts with it.
    """
    heard = {life.role for life in record.lives.values()}
    faults = any(h.role == ROOF and h.name in FAULTS for h in record.happenings)
    if faults or not heard >= _TIERS:
        return 0
    counters = record.counters()
    sent, received = members(MESSAGES_SENT, counters), members(MESSAGES_RECEIVED, counters)
    surplus = (received.get(name, 0) - sent.get(name, 0) for name in _CONSERVED)
    twice = sum(members(DUPLICATED, counters).values())
    return int(max(0, sum(max(0, n) for n in surplus) - twice))


def unaccounted(record: Record) -> int:
    """Messages on modelled links that were not dropped for a reason and did not arrive either.

    What is put on a link is dropped or carried; what is carried, once or twice, arrives, finds
    nobody, or is under way.
    """
    found = 0.0
    for life in record.lives.values():
        counters = life.last.counters
        for way in WAYS:
            offered, carried, duplicated, delivered, under_way = (
                counters.get(member(family, way), 0.0)
                for family in (OFFERED, CARRIED, DUPLICATED, DELIVERED, UNDER_WAY)
            )
            lost = members(LOST, counters, way)
            nobody = lost.get(UNREACHABLE, 0.0)
            found += abs(offered - carried - sum(lost.values()) + nobody)
            found += abs(carried + duplicated - (delivered + nobody + under_way))
    return int(found)
