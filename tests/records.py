"""Made-up reports, for tests of the record and what is drawn from it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tierloop.contract.ledger import INDEX, LEDGER, Rung, Tier
from tierloop.contract.messages import Event, Outcome, Report
from tierloop.sim.scenario import policy_spec
from tierloop.stack.config.deployment import load
from tierloop.stack.record.folder import DEPLOYMENT, PARTS
from tierloop.stack.record.record import ROOF
from tierloop.stack.record.reports import PartFiles
from tierloop.stack.record.tally import first_use_ns
from tierloop.stack.record.whole import WholeRecord

S = 1_000_000_000
MS = 1_000_000
SHIPPED = Path(__file__).parents[1] / "deployments" / "sorting-cell.toml"


def recorded(reports: Iterable[Report]) -> WholeRecord:
    record = WholeRecord(policy_spec(deployment().scenario))
    for one in reports:
        record.take(one)
    return record


def deployment(*options: str) -> Any:
    return load(SHIPPED, options)


def row(seq: int, captured_ms: float, age_ms: float = 5.0, **columns: int) -> np.ndarray:
    """One ledger row; it acted `age_ms` after its capture, or never if that is 0."""
    values = np.zeros(len(LEDGER), np.int64)
    captured_ns = round(captured_ms * MS)
    given = {
        "seq": seq,
        "captured_ns": captured_ns,
        "sent_ns": captured_ns + MS,
        "received_ns": captured_ns + 4 * MS if age_ms else 0,
        "applied_ns": captured_ns + round(age_ms * MS) if age_ms else 0,
        "tier": Tier.EDGE if age_ms else Tier.NONE,
        "policy_version": 0 if age_ms else -1,
        "way_bound_ns": -1,
        "rung": Rung.EDGE,
    }
    for name, value in (given | columns).items():
        values[INDEX[name]] = value
    return values


def outcome(number: int, success: bool, version: int, ended_ms: float) -> Outcome:
    return Outcome(
        number=number, success=success, reason="sorted" if success else "missed",
        policy_version=version, started_ns=round((ended_ms - 900) * MS),
        ended_ns=round(ended_ms * MS),
    )  # fmt: skip


def report(process: str, role: str, at_s: float, boot: int = 1, **fields: Any) -> Report:
    rows = np.array(fields.pop("rows", []), np.int64).reshape(-1, len(LEDGER))
    ages = np.repeat(first_use_ns(rows)[:, None], 2, 1)  # one tick for each answer that acted
    late = fields.pop("lateness_ns", [])
    events = fields.pop("events", ())
    empty: dict[str, Any] = {"counters": {}, "gauges": {}, "labels": {}, "outcomes": ()}
    return Report(
        process=process, role=role, boot=boot, at_ns=round(at_s * S),
        decisions=rows, ages_ns=fields.pop("ages_ns", ages),
        lateness_ns=np.array(late, np.int64),
        events=tuple(Event(at_ns=round(t * S), name=n, detail=d) for t, n, d in events),
        **(empty | fields),
    )  # fmt: skip


def roof(start_s: float, end_s: float, *events: tuple[float, str, str]) -> list[Report]:
    boot = round(start_s * S)
    return [
        report(ROOF, ROOF, start_s + 0.1, boot),
        report(ROOF, ROOF, end_s, boot, events=events),
    ]


def short_run() -> list[Report]:
    """Ten seconds of two robots: v0 fails twice, v1 sorts three of four."""
    device = {
        "ticks": 2400, "missed": 3, "segments.produced": 20, "segments.acked": 0,
        "segments.shed": 1, "refused.expired": 2, "rung_s.hold": 0.25,
        "energy_j.actuation": 30.0, "energy_j.base": 50.0,
    }  # fmt: skip
    reports = roof(100, 110, (104, "died", "edge: killed by SIGKILL"), (104.3, "restarted", "edge"))
    for name, version in (("arm-0", 0), ("arm-1", 1)):
        rows = [row(i, 101_000 + 50 * i, 4 + i % 7, policy_version=version) for i in range(100)]
        won = [False, False] if version == 0 else [True, False, True, True]
        reports.append(
            report(
                name, "device", 109, counters=device, rows=[*rows, row(100, 107_000, 0)],
                lateness_ns=[50_000 + 100 * i for i in range(200)],
                outcomes=tuple(
                    outcome(i, w, version, 103_000 + 1000 * i) for i, w in enumerate(won)
                ),
                gauges={"backlog": 1.0}, labels={"rung": "edge"},
                events=[(101, "session", "edge is there")],
            )
        )  # fmt: skip
    energy = {"energy_j.compute": 100.0}
    reports += [
        report("edge", "edge", 103, boot=1, counters=energy | {"shed.routine": 1.0}),
        report("edge", "edge", 109, boot=2, counters=energy, gauges={"outbox_rows": 2.0}),
        report("cloud", "cloud", 109, counters={"energy_j.compute": 600.0}),
    ]
    return reports


def fill(out: Path, reports: list[Report]) -> None:
    """Puts a record's parts into `out`, as a supervisor would."""
    parts = PartFiles(out / PARTS)
    for one in reports:
        parts.append(one)
    (out / DEPLOYMENT).write_bytes(msgspec.json.encode(deployment()))
