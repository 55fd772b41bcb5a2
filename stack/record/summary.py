"""Computes summary.json: the run in numbers. Its keys are an interface."""

import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

from tierloop.cloud.config import IDLE_PHASES
from tierloop.cloud.store_view import StoredRelease
from tierloop.contract.clock import NS_PER_MS, NS_PER_S, NS_PER_US
from tierloop.contract.counters import PHASE_S, REFUSED, RUNG_S, SHED, members
from tierloop.contract.ledger import Refusal, Rung, Tier
from tierloop.sim.scenario import policy_spec
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.machine import processors
from tierloop.stack.record.audit import Audit
from tierloop.stack.record.books import Books
from tierloop.stack.record.damage import provable
from tierloop.stack.record.energy import account
from tierloop.stack.record.histogram import Stretches
from tierloop.stack.record.invariants import FAULTS, invariants
from tierloop.stack.record.poses import POSES
from tierloop.stack.record.record import (
    AGE,
    DEVICE,
    FIRST_USE,
    LATENESS,
    OLDEST,
    ROOF,
    ROUND_TRIP,
    Record,
)
from tierloop.stack.record.reports import REPORTS, lacks_of
from tierloop.stack.record.sessions import apart, silence

SCHEMA_VERSION = 3
KILLED = "killed"
"""How a run ended whose roof has not said so."""
LIBRARIES = ("numpy", "msgspec", "pyzmq", "pybullet", "onnxruntime", "ray", "torch", "onnx")
PERCENTILES = (50.0, 90.0, 99.0, 99.9)
INFLICTED = "fault."
"""Begins the names of events that tell of a fault of the deployment's timeline."""
OVER = "fault.over"
EXTRAPOLATED = "compute_extrapolated"
"""The name of the event that tells what a process was charged for beyond its hardware's profile."""


def summarise(
    record: Record,
    deployment: Deployment,
    audit: Audit,
    releases: Iterable[StoredRelease],
    books: Books,
) -> dict[str, Any]:
    """Every key of the record's summary."""
    start_ns, end_ns = record.span_ns()
    _, success = record.outcomes()
    out_of_session = apart(record, deployment)
    found = {
        **invariants(record, audit),
        "books_balanced": books.unbalanced if audit.checked else 0,
        "in_session": len(out_of_session),
    }
    held, not_judged = provable(found, record.damaged)
    successes = int(success.sum())
    versions = _versions(record, releases, start_ns)
    return {
        "schema_version": SCHEMA_VERSION,
        "deployment": deployment.name,
        "clock": record.label("clock", "wall"),
        "seed": deployment.seed,
        "duration_s": round((end_ns - start_ns) / NS_PER_S, 3),
        "planned_s": deployment.run.duration_s,
        "ended": record.label("ended", KILLED),
        "host": host(),
        "robots": list(deployment.scenario.robots),
        "success": _rate(len(success), successes),
        "policy_versions": versions,
        "lived_against_twin": lived_against_twin(versions),
        "action_age_ms": percentiles(record.samples[AGE], NS_PER_MS),
        "oldest_age_ms": percentiles(record.samples[OLDEST], NS_PER_MS),
        "first_use_age_ms": percentiles(record.samples[FIRST_USE], NS_PER_MS),
        "round_trip_ms": percentiles(record.samples[ROUND_TRIP], NS_PER_MS),
        "validity_ms": policy_spec(deployment.scenario).validity_ns / NS_PER_MS,
        "tick_lateness_us": percentiles(record.samples[LATENESS], NS_PER_US),
        "ticks": _ticks(record),
        "decisions": _decisions(record),
        "energy_j": account(record, deployment, successes),
        "experience": _experience(record, audit, books),
        "cloud": _cloud(record.counters("cloud")),
        "faults": _faults(record, start_ns),
        "extrapolated": _extrapolated(record),
        "silence": silence(record, out_of_session),
        "invariants": held,
        "not_judged": not_judged,
        "damaged": [damage.told(start_ns, end_ns) for damage in record.damaged],
        "lacks": _lacks(record, start_ns),
        "unkept": [],
        "left_out": list(deployment.record.left_out),
        "trace_sha256": record.label("trace_sha256"),
    }


def percentiles(samples: Stretches, ns: int) -> dict[str, float | int | None]:
    """n, p50, p90, p99, p99_9 and max in units of `ns`; null where there are none.

    A percentile is within 0.2 % of that of the raw samples (record/histogram.py); max is exact.
    """
    names = ["p" + f"{p:g}".replace(".", "_") for p in PERCENTILES]
    whole = samples.whole()
    if not whole.n:
        return {"n": 0, **dict.fromkeys(names), "max": None}
    found = [*whole.percentiles(PERCENTILES).tolist(), whole.max]
    figures = {n: round(v / ns, 3) for n, v in zip((*names, "max"), found, strict=True)}
    return {"n": whole.n, **figures}


def host() -> dict[str, Any]:
    """The machine a run was made on, as far as it bears on the figures."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "processor": processor(),
        "cpus": os.cpu_count(),
        "cpus_usable": processors(),
        "memory_mb": psutil.virtual_memory().total // 2**20,
        "python": platform.python_version(),
        "libraries": {name: library(name) for name in LIBRARIES},
    }


def library(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """What the machine says its processor is."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            names = (line.partition(":")[2].strip() for line in info if "model name" in line)
            return next(names, "") or platform.machine()
    except OSError:
        return platform.processor() or platform.machine()


def _rate(episodes: int, successes: int) -> dict[str, float | int | None]:
    rate = round(successes / episodes, 4) if episodes else None
    return {"episodes": episodes, "successes": successes, "success_rate": rate}


def _versions(
    record: Record, releases: Iterable[StoredRelease], start_ns: int
) -> list[dict[str, Any]]:
    lived = {line.version: line for line in record.versions()}
    released = {release.version: release for release in releases}
    lines = []
    for number in sorted({*lived, *released}):
        line, release = lived.get(number), released.get(number)
        live_s = round((line.live_ns - start_ns) / NS_PER_S, 3) if line and line.live_ns else None
        lines.append(
            {
                "version": number,
                "live_at_s": live_s,
                **_rate(line.episodes if line else 0, line.successes if line else 0),
                "twin_success_rate": release.metrics.get("success") if release else None,
                "parents": list(release.parents) if release else None,
                "digest": release.digest if release else None,
            }
        )
    return lines


def lived_against_twin(versions: Iterable[Mapping[str, Any]]) -> dict[str, float | int | None]:
    """What the robots lived with released versions, beside what the twin had promised of them.

    Each version counts by its lived episodes; those that no gate has judged are left out.
    """
    both = [v for v in versions if v["episodes"] and v["twin_success_rate"] is not None]
    episodes = sum(v["episodes"] for v in both)
    if not episodes:
        return {"episodes": 0, "lived": None, "twin": None, "difference": None}
    lived = sum(v["successes"] for v in both) / episodes
    twin = sum(v["episodes"] * v["twin_success_rate"] for v in both) / episodes
    return {
        "episodes": episodes,
        "lived": round(lived, 4),
        "twin": round(twin, 4),
        "difference": round(lived - twin, 4),
    }


def _ticks(record: Record) -> dict[str, int]:
    counters = record.counters("device")
    return {"n": int(counters.get("ticks", 0)), "missed": int(counters.get("missed", 0))}


def _decisions(record: Record) -> dict[str, Any]:
    counters = record.counters("device")
    refused, rung_s = members(REFUSED, counters), members(RUNG_S, counters)
    tallies = [life.tally for life in record.of(DEVICE)]
    return {
        "n": sum(tally.decisions for tally in tallies),
        "by_tier": {t.name.lower(): sum(tally.by_tier[t] for tally in tallies) for t in Tier},
        "refused": {r.name.lower(): int(refused.get(r.name.lower(), 0)) for r in Refusal if r},
        "fallback": {r.name.lower(): round(rung_s.get(r.name.lower(), 0.0), 3) for r in Rung},
    }


def _experience(record: Record, audit: Audit, books: Books) -> dict[str, int]:
    """In segments. Where the stores are not here, only what the processes said is known."""
    device, edge = record.counters("device"), record.counters("edge")
    told_shed = int(device.get("segments.shed", 0)) + shed(edge)
    known = audit.checked
    return {
        "produced": books.produced if known else int(device.get("segments.produced", 0)),
        "acked": int(device.get("segments.acked", 0)),
        "stored": audit.stored,
        "refused": books.refused,
        "waiting": audit.waiting,
        "waiting_device": books.waiting_device if known else 0,
        "shed": books.shed_device + max(0, books.dropped - audit.missing) if known else told_shed,
        "lost": books.lost if known else 0,
        "duplicate": audit.duplicate,
        "missing": audit.missing,
        "altered": audit.altered,
        "checked": audit.checked,
    }


def _lacks(record: Record, start_ns: int) -> list[dict[str, Any]]:
    return [
        {
            "what": kind.name,
            "from_s": round((lack.since_ns - start_ns) / NS_PER_S, 3),
            "to_s": round((lack.until_ns - start_ns) / NS_PER_S, 3),
            "reports": lack.reports,
            "why": lack.why,
        }
        for kind in (REPORTS, POSES)
        for lack in lacks_of(record.label(kind.label))
    ]


def _cloud(counters: dict[str, float]) -> dict[str, Any]:
    spent_s = members(PHASE_S, counters)
    whole_s = sum(spent_s.values())
    waiting_s = sum(spent_s.get(phase, 0.0) for phase in IDLE_PHASES)
    return {
        "phase_s": {name: round(s, 3) for name, s in spent_s.items()},
        "waiting_share": round(waiting_s / whole_s, 4) if whole_s else None,
    }


def shed(edge: dict[str, float]) -> int:
    """Segments that the edge dropped for want of room, of any priority, by its counters."""
    return int(sum(members(SHED, edge).values()))


def missed_share(ticks: Mapping[str, int]) -> float | None:
    """The share of the ticks due, those done and those missed, that were missed; None of none."""
    due = ticks["n"] + ticks["missed"]
    return ticks["missed"] / due if due else None


def told_faults(summary: Mapping[str, Any]) -> str:
    """How many faults of the timeline began, and how many processes died, in words; or nothing."""
    names = [fault["fault"] for fault in summary["faults"]]
    planned = sum(name.startswith(INFLICTED) and name != OVER for name in names)
    counts = {"planned": planned, "process deaths": names.count("died")}
    return ", ".join(f"{what}: {n}" for what, n in counts.items() if n)


def _extrapolated(record: Record) -> list[dict[str, str]]:
    """Each once, in the order in which they were told."""
    told = {(h.process, h.detail): None for h in record.happenings if h.name == EXTRAPOLATED}
    return [{"process": process, "what": what} for process, what in told]


def _faults(record: Record, start_ns: int) -> list[dict[str, Any]]:
    return [
        {
            "at_s": round((h.at_ns - start_ns) / NS_PER_S, 3),
            "process": h.process,
            "fault": h.name,
            "detail": h.detail,
        }
        for h in record.happenings
        if h.role == ROOF and (h.name in FAULTS or h.name.startswith(INFLICTED))
    ]
