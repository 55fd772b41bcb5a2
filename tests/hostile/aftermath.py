"""What an attack left behind, judged: processes, memory, invariants, every honest decision."""

import json

from verdict import Verdict, lives
from victims import ROOF, Victim

from tierloop.contract.ledger import INDEX, Rung
from tierloop.stack.record.folder import load, load_whole
from tierloop.stack.record.record import LedgerRows, Life, Record

MEMORY_MB = {ROOF: 150, "device": 100, "edge": 250, "cloud": 550}
"""What a process may hold at most (docs/attack.md): its libraries, and what peers can add."""
ENDS = ("died", "hung", "restarted")


def processes(verdict: Verdict, name: str, victim: Victim, code: int, apart: str) -> None:
    """Whether every process of a victim, one `apart`, lived through it, and what it held."""
    _, record = load(victim.out)
    roofs = [h for h in record.happenings if h.role == ROOF and h.process != apart]
    logs = [path.read_text(errors="replace") for path in (victim.out / "logs").glob("*.log")]
    verdict.none(f"{name}: exit code", code)
    verdict.none(f"{name}: crashes and restarts", sum(h.name in ENDS for h in roofs))
    killed = {h.process for h in roofs if h.name == "killed"}
    verdict.none(f"{name}: devices, edges killed at the end", len(killed - {"cloud"}))
    if "cloud" in killed:
        verdict.note(f"{name}: cloud", "killed at the end")
    verdict.none(f"{name}: tracebacks", sum(text.count("Traceback") for text in logs))
    verdict.none(f"{name}: processes left", len(victim.orphans(5.0)))
    for process, by_pid in lives(victim.vitals).items():
        if process != apart:
            peak_mb = max(v.rss for samples in by_pid.values() for v in samples) / 2**20
            bound_mb = MEMORY_MB.get(process, MEMORY_MB["device"])
            verdict.at_most(f"{name}: {process}: MB at most", round(peak_mb), bound_mb)


def honest(verdict: Verdict, victim: Victim, apart: str) -> None:
    """Every decision of the honest robots has its row, with an answer or a rung below."""
    if not (victim.out / "summary.json").exists():
        verdict.none("runs without a summary", 1)
        return
    summary = json.loads((victim.out / "summary.json").read_text())
    for name, count in summary["invariants"].items():
        verdict.none(f"invariant {name}", count)
    _, record = load_whole(victim.out)
    for life, rows in record.ledgers():
        if life.process != apart:
            _decisions(verdict, life, rows)
    _counted(verdict, record)


def _decisions(verdict: Verdict, life: Life, rows: LedgerRows) -> None:
    name, counters = life.process, life.last.counters
    answered = (rows[:, INDEX["received_ns"]] > 0).mean()
    low = (rows[:, INDEX["rung"]] >= Rung.HOLD).mean()
    missed, due = counters.get("missed", 0), counters.get("ticks.due", 0)
    verdict.none(f"{name}: decisions without a row", abs(int(counters["decisions"]) - len(rows)))
    told = f"{len(rows)}, answered {answered:.1%}, begun in a hold or stop {low:.1%}"
    verdict.note(f"{name}: decisions", told)
    verdict.note(f"{name}: ticks missed", f"{missed:.0f} of {due:.0f}")
    verdict.at_least(f"{name}: its last ten decisions answered", _answered(rows[-14:-4]), 8)


def _answered(rows: LedgerRows) -> int:
    return int((rows[:, INDEX["received_ns"]] > 0).sum())


def _counted(verdict: Verdict, record: Record) -> None:
    for role in ("device", "edge", "cloud"):
        counters = record.counters(role)
        seen = [int(n) for name, n in counters.items() if "dropped." in name or "refused." in name]
        told = f"{sum(seen)} in {len(seen)} kinds"
        verdict.note(f"{role}s of the whole stack refused or dropped", told)
