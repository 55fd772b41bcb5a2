"""What must hold in every run, judged on the record; each is a count of violations."""

import numpy as np

from contract.ledger import INDEX
from contract.specs import PolicySpec
from tierloop.audit import Audit
from tierloop.energy import unbalanced
from tierloop.record import ROOF, Record, Rows

COUNTED = "invariant."
"""Begins the names of counters by which processes judge themselves."""
FAULTS = frozenset({"died", "restarted", "killed"})
"""Names of the supervisor's events that count as faults."""

_CONSERVED = ("observation", "action", "sealed", "part")
_TIERS = {"device", "edge", "cloud"}


def invariants(record: Record, spec: PolicySpec, audit: Audit) -> dict[str, int]:
    """Violations by name; 0 means that it held. The worse of both counts where two judge."""
    found = {"stale_action": 0, "action_order": 0}
    for _, rows in record.ledgers():
        acted = rows[rows[:, INDEX["applied_ns"]] > 0]
        found["stale_action"] += stale(acted, spec.validity_ns)
        found["action_order"] += disordered(acted)
    found["exactly_once"] = audit.duplicate
    found["nothing_acked_lost"] = audit.missing
    found["nothing_altered"] = audit.altered
    found["conservation"] = invented(record)
    found["energy_conserved"] = unbalanced(record)
    for name, value in record.counters().items():
        if name.startswith(COUNTED):
            key = name.removeprefix(COUNTED)
            found[key] = max(found.get(key, 0), int(value))
    return found


def stale(acted: Rows, validity_ns: int) -> int:
    """Actions that first acted past their validity."""
    age_ns = acted[:, INDEX["applied_ns"]] - acted[:, INDEX["captured_ns"]]
    return int((age_ns > validity_ns).sum())


def disordered(acted: Rows) -> int:
    """Actions that acted before one that answers an earlier observation."""
    in_turn = acted[np.argsort(acted[:, INDEX["seq"]]), INDEX["applied_ns"]]
    return int((np.diff(in_turn) < 0).sum())


def invented(record: Record) -> int:
    """Messages received that nobody sent.

    Judged only where all three tiers were heard to the end: a killed process takes up to a
    second of its counts with it.
    """
    heard = {life.role for life in record.lives.values()}
    faults = any(h.role == ROOF and h.name in FAULTS for h in record.happenings)
    if faults or not heard >= _TIERS:
        return 0
    counters = record.counters()
    surplus = (
        counters.get(f"link.{name}.received", 0) - counters.get(f"link.{name}.sent", 0)
        for name in _CONSERVED
    )
    return int(sum(max(0, n) for n in surplus))
