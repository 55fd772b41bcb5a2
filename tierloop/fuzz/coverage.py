"""Coverage: the rare states that a fuzzer must reach now and then, or it proves little."""

from collections import Counter
from pathlib import Path

from tierloop.contract.counters import FRAMES_REFUSED, RUNG_S, parsed
from tierloop.fuzz.oracle import Oracle
from tierloop.policy import journal
from tierloop.stack.record.disks import EDGE_JOURNAL
from tierloop.stack.record.record import Record

COUNTED: dict[str, tuple[str, str]] = {
    "controlled stop": ("device", "rung_s.stop"),
    "hold": ("device", "rung_s.hold"),
    "rearm: answer refused while stopped": ("device", "refused.stopped"),
    "answer refused: expired": ("device", "refused.expired"),
    "answer refused: reordered": ("device", "refused.reordered"),
    "answer refused: another boot": ("device", "refused.wrong_boot"),
    "guard bit: velocity": ("device", "limit.velocity"),
    "guard bit: acceleration": ("device", "limit.acceleration"),
    "tick missed": ("device", "missed"),
    "device shed a segment": ("device", "segments.shed"),
    "edge: segment came again": ("edge", "duplicates"),
    "edge: sent again to the cloud": ("edge", "resent"),
    "edge: outbox full": ("edge", "shed.routine"),
    "edge: commit failed": ("edge", "outbox_failures"),
    "edge: damaged segment refused": ("edge", "refused.digest"),
    "edge: observation too late": ("edge", "dropped.expired"),
    "edge: observation superseded": ("edge", "dropped.superseded"),
    "edge: engine failed": ("edge", "engine_faults"),
    "edge: download stalled": ("edge", "download_stalls"),
    "edge: release refused": ("edge", "policies_refused"),
    "edge: policy switched": ("edge", "policy_switches"),
    "edge: hung inbox full": ("edge", "dropped.hung"),
    "cloud: segment came again": ("cloud", "duplicate"),
    "cloud: commit failed": ("cloud", "dropped.disk"),
    "cloud: candidate released": ("cloud", "released"),
    "cloud: learning step failed": ("cloud", "failed.record"),
    "frame refused at the device": ("device", FRAMES_REFUSED),
    "frame refused at the edge": ("edge", FRAMES_REFUSED),
    "frame refused at the cloud": ("cloud", FRAMES_REFUSED),
    "link lost a frame": ("device", "link.up.dropped.loss"),
    "link cut": ("device", "link.up.dropped.cut"),
    "link queue full": ("device", "link.up.dropped.queue"),
    "frame came twice": ("device", "link.up.duplicated"),
}
"""Counters by what reaching them means; a family means all of it."""
EVENTS = {
    "session lost": "lost",
    "process restarted": "restarted",
    "gate refused a candidate": "candidate_refused",
}
JOURNALLED = {"policy rolled back": "rollback", "damaged policy replaced": "damaged"}
ALL = (*COUNTED, *EVENTS, *JOURNALLED, "segment acknowledged")


def reached(record: Record, oracle: Oracle, place: Path) -> Counter[str]:
    """How often each state was reached in a run."""
    found: Counter[str] = Counter()
    for state, (role, counter) in COUNTED.items():
        for name, value in record.counters(role).items():
            if parsed(counter, name) is not None:
                found[state] += int(value > 0) if parsed(RUNG_S, name) else int(value)
    for state, event in EVENTS.items():
        found[state] += sum(h.name == event for h in record.happenings)
    for entry in journal.read(place / EDGE_JOURNAL):
        for state, action in JOURNALLED.items():
            found[state] += entry.action == action
    found["process restarted"] += oracle.restarts
    found["segment acknowledged"] = oracle.acknowledged
    return found
