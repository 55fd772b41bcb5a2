"""A run as a Chrome trace, which Perfetto opens: a process a host, arrows where a tier is crossed.

Format: "Trace Event Format" (Chromium). Times are microseconds since the run began. When
the edge held an observation follows from the estimated offset of its clock, true within the
`bound_us` that the slice carries; where no offset was known, the slice stands in the middle of the
time away, and the bound is half of what the two ways took together.
"""

import gzip
from collections.abc import Iterable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from tierloop.contract.clock import NS_PER_MS, NS_PER_US
from tierloop.contract.ledger import Refusal, Rung, Tier
from tierloop.contract.messages import Outcome
from tierloop.stack.record.disks import Journey
from tierloop.stack.record.record import ROOF
from tierloop.stack.record.tally import LedgerRows
from tierloop.stack.record.whole import WholeRecord
from tierloop.views.moments import LedgerRow, rows

TraceEvent = dict[str, Any]
_ROLES = ("device", "edge", "cloud", ROOF)
_SERVERS = ("edge", "cloud")
_MARK_NS = 100_000
"""How wide an instant is drawn where an arrow needs a slice to begin or end at."""
_ALIKE = 1000
"""Lanes of one name in a process: slices of a lane may not overlap, so there may be several."""


class _Lane(IntEnum):
    """What a row of a process shows."""

    DECISIONS = 1
    AWAY = 2
    ANSWERS = 3
    HELD = 4
    EXPERIENCE = 5
    POLICIES = 6
    EVENTS = 7


def write(path: Path, record: WholeRecord, journeys: Iterable[Journey], origin_ns: int) -> int:
    """Streams the trace to `path`, packed if its name ends in .gz; how many events it holds."""
    found = events(record, journeys, origin_ns)
    with path.open("wb") as raw:
        if path.suffix != ".gz":
            return _stream(raw, found)
        with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:  # the same bytes each time
            return _stream(packed, found)


def _stream(file: BinaryIO | gzip.GzipFile, found: Iterable[TraceEvent]) -> int:
    count = 0
    file.write(b'{"displayTimeUnit":"ms","traceEvents":[\n')
    for event in found:
        file.write((b",\n" if count else b"") + msgspec.json.encode(event))
        count += 1
    file.write(b"\n]}\n")
    return count


def events(
    record: WholeRecord, journeys: Iterable[Journey], origin_ns: int
) -> Iterator[TraceEvent]:
    """Every event of the trace; `origin_ns` becomes 0."""
    lives = sorted(record.lives.values(), key=lambda x: (_ROLES.index(x.role), x.process, x.boot))
    pids = {name: i for i, name in enumerate(dict.fromkeys(life.process for life in lives), 1)}
    roles = {life.process: life.role for life in lives}
    for name, pid in pids.items():
        yield _meta(pid, 0, "process_name", f"{roles[name]}: {name}")
    tiers = {Tier[role.upper()]: pids[name] for name, role in roles.items() if role in _SERVERS}
    trace = _Trace(origin_ns, tiers)
    for life, decisions in record.ledgers():
        yield from trace.life(decisions, record.judged(life), pids[life.process])
    yield from trace.switches(record, pids)
    for journey in journeys:
        if journey.device in pids and Tier.CLOUD in tiers:
            yield from trace.journey(journey, pids[journey.device])
    for one in record.happenings:
        scope: TraceEvent = {"s": "p", "args": {"detail": one.detail}}
        pid = pids.get(one.process, pids.get(ROOF, 0))
        yield trace.at("i", one.at_ns, pid, _Lane.EVENTS, one.name, **scope)
    yield from trace.lanes()


class _Trace:
    """Builds events of one run; ids of arrows count up."""

    def __init__(self, origin_ns: int, tiers: dict[Tier, int]) -> None:
        self._origin_ns, self._tiers = origin_ns, tiers
        self._arrows = 0
        self._ends_ns: dict[tuple[int, _Lane], list[int]] = {}

    def at(self, ph: str, at_ns: int, pid: int, tid: int, name: str, **more: Any) -> TraceEvent:
        ts = (at_ns - self._origin_ns) / NS_PER_US
        return {"ph": ph, "ts": ts, "pid": pid, "tid": tid, "name": name, "cat": "tierloop"} | more

    def slice(
        self, start_ns: int, end_ns: int, pid: int, lane: _Lane, name: str, **a: Any
    ) -> TraceEvent:
        """A slice in the first lane of its kind that is free."""
        end_ns = max(end_ns, start_ns + 1)
        ends_ns = self._ends_ns.setdefault((pid, lane), [])
        free = next((i for i, end in enumerate(ends_ns) if end <= start_ns), len(ends_ns))
        ends_ns[free : free + 1] = [end_ns]
        dur = (end_ns - start_ns) / NS_PER_US
        return self.at("X", start_ns, pid, lane * _ALIKE + free, name, dur=dur, args=a)

    def lanes(self) -> Iterator[TraceEvent]:
        """The names of the lanes that were used."""
        for (pid, lane), ends_ns in self._ends_ns.items():
            for i in range(len(ends_ns)):
                yield _meta(pid, lane * _ALIKE + i, "thread_name", lane.name.lower())

    def arrow(
        self, name: str, *slices: TraceEvent, leaves_ns: int | None = None
    ) -> Iterator[TraceEvent]:
        """Slices joined by arrows from begin to begin; the first leaves at `leaves_ns` if given."""
        self._arrows += 1
        for i, one in enumerate(slices):
            ph = "s" if i == 0 else "f" if i == len(slices) - 1 else "t"
            more: TraceEvent = {"bp": "e"} if ph == "f" else {}
            ts = one["ts"]
            if i == 0 and leaves_ns is not None:
                ts = (leaves_ns - self._origin_ns) / NS_PER_US
            yield {
                "ph": ph, "ts": ts, "pid": one["pid"], "tid": one["tid"],
                "name": name, "cat": name, "id": self._arrows, **more,
            }  # fmt: skip

    def life(
        self, decisions: LedgerRows, episodes: Iterable[Outcome], pid: int
    ) -> Iterator[TraceEvent]:
        for row in rows(decisions):
            yield from self.decision(row, pid)
            at_ns = row["captured_ns"]
            values = {"rung": row["rung"], "battery_pct": row["soc_ppm"] / 1e4}
            if row["age_ns"] >= 0:
                values["age_ms"] = row["age_ns"] / NS_PER_MS
            for name, value in values.items():
                yield self.at("C", at_ns, pid, 0, name, args={name: value})
        for one in episodes:
            name = f"{'success' if one.success else 'failure'}: {one.reason}"
            more: TraceEvent = {"s": "p", "args": {"episode": one.number}}
            yield self.at("i", one.ended_ns, pid, _Lane.EVENTS, name, **more)

    def decision(self, row: LedgerRow, pid: int) -> Iterator[TraceEvent]:
        """Its stages, and the arrow from the capture through the server to what acted."""
        captured_ns, sent_ns, received_ns = row["captured_ns"], row["sent_ns"], row["received_ns"]
        name = f"#{row['seq']}"
        more = row | {"rung": Rung(row["rung"]).name, "refused": Refusal(row["refused"]).name}
        stages = [
            self.slice(captured_ns, sent_ns, pid, _Lane.DECISIONS, f"{name} perceive", **more)
        ]
        if received_ns and sent_ns:
            yield self.slice(sent_ns, received_ns, pid, _Lane.AWAY, f"{name} away")
            stages += self.held(row, name)
            end_ns = row["applied_ns"] or received_ns
            word = "acts" if row["applied_ns"] else "refused" if row["refused"] else "unused"
            stages.append(self.slice(received_ns, end_ns, pid, _Lane.ANSWERS, f"{name} {word}"))
        yield from stages
        if len(stages) > 1:
            yield from self.arrow("decision", *stages)

    def held(self, row: LedgerRow, name: str) -> list[TraceEvent]:
        """The stay in the answering tier, amid the time away; nothing if that ran elsewhere."""
        server = self._tiers.get(Tier(row["tier"]))
        if server is None:
            return []
        up_ns, bound_ns = row["up_ns"], row["way_bound_ns"]
        if bound_ns < 0:
            up_ns = bound_ns = max(0, row["received_ns"] - row["sent_ns"] - row["held_ns"]) // 2
        start_ns = row["sent_ns"] + up_ns
        about: TraceEvent = {
            "policy_version": row["policy_version"], "batch": row["batch"],
            "compute_us": row["compute_ns"] / NS_PER_US, "bound_us": bound_ns / NS_PER_US,
        }  # fmt: skip
        end_ns = start_ns + row["held_ns"]
        return [self.slice(start_ns, end_ns, server, _Lane.HELD, f"{name} held", **about)]

    def switches(self, record: WholeRecord, pids: dict[str, int]) -> Iterator[TraceEvent]:
        """An arrow from each policy going live on an edge to each body's first action of it."""
        for happening in sorted(record.happenings):
            if happening.name != "policy_live":
                continue
            version, live_ns = happening.detail.partition(" ")[0], happening.at_ns
            server = pids[happening.process]
            live = self.mark(live_ns, server, _Lane.POLICIES, f"{version} live")
            yield live
            for life, decisions in record.ledgers():
                acted = (r for r in rows(decisions) if r["applied_ns"] >= live_ns)
                first = next((r for r in acted if f"v{r['policy_version']}" == version), None)
                if first:
                    at_ns, pid = first["applied_ns"], pids[life.process]
                    acts = self.mark(at_ns, pid, _Lane.POLICIES, f"{version} acts")
                    yield acts
                    yield from self.arrow("policy", live, acts)

    def journey(self, journey: Journey, pid: int) -> Iterator[TraceEvent]:
        """A segment: a slice while it was filled, an arrow to where the cloud stored it."""
        name, last_ns = f"segment {journey.seq}", journey.last_ns
        end_ns, lane = last_ns + _MARK_NS, _Lane.EXPERIENCE
        filled = self.slice(journey.first_ns, end_ns, pid, lane, name)
        there = f"{journey.device} {name}"
        stored = self.mark(journey.stored_ns, self._tiers[Tier.CLOUD], lane, there)
        yield filled
        yield stored
        if journey.stored_ns >= last_ns:
            yield from self.arrow("experience", filled, stored, leaves_ns=last_ns)

    def mark(self, at_ns: int, pid: int, lane: _Lane, name: str) -> TraceEvent:
        return self.slice(at_ns, at_ns + _MARK_NS, pid, lane, name)


def _meta(pid: int, tid: int, kind: str, name: str) -> TraceEvent:
    return {"ph": "M", "ts": 0, "pid": pid, "tid": tid, "name": kind, "args": {"name": name}}
