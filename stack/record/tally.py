"""Tallies a device's decisions as they come, so that the rows need not be kept."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from tierloop.contract.bounds import MIXED
from tierloop.contract.ledger import INDEX

LedgerRows = NDArray[np.int64]

_SEQ, _TIER, _VERSION = INDEX["seq"], INDEX["tier"], INDEX["policy_version"]
_CAPTURED, _APPLIED = INDEX["captured_ns"], INDEX["applied_ns"]
_SENT, _RECEIVED = INDEX["sent_ns"], INDEX["received_ns"]


def acted(rows: LedgerRows) -> LedgerRows:
    """The rows whose answer acted."""
    return rows[rows[:, _APPLIED] > 0]


def first_use_ns(rows: LedgerRows) -> LedgerRows:
    """The age of each answer when it first acted, int64[n]: the youngest that it ever is."""
    rows = acted(rows)
    return rows[:, _APPLIED] - rows[:, _CAPTURED]


def round_trips_ns(rows: LedgerRows) -> LedgerRows:
    """Answer received minus observation sent, int64[n], of the decisions answered."""
    answered = rows[(rows[:, _RECEIVED] > 0) & (rows[:, _SENT] > 0)]
    return answered[:, _RECEIVED] - answered[:, _SENT]


class DecisionTally:
    """Of one life of a device, whose rows come in order of their seq.

    `stale`: actions that first acted more than `valid_ns` after their capture. The device's watch
    judges by the beginning of the tick; here the end of the writing counts. `disordered`: actions
    that acted before one that answers an earlier observation. `versions`: the policy versions that
    acted, one after the other. `first_ns`: when each first acted.
    """

    def __init__(self, valid_ns: int) -> None:
        self._valid_ns = valid_ns
        self.decisions = self.stale = self.disordered = 0
        self.by_tier: Counter[int] = Counter()
        self.versions: list[int] = []
        self.first_ns: dict[int, int] = {}
        self._applied_ns = 0

    def take(self, rows: LedgerRows) -> None:
        """Adds rows, int64[R, C]."""
        self.decisions += len(rows)
        self.by_tier.update(rows[:, _TIER].tolist())
        used = acted(rows)
        if not len(used):
            return
        applied_ns = used[:, _APPLIED]
        self.stale += int((applied_ns - used[:, _CAPTURED] > self._valid_ns).sum())
        self.disordered += int((np.diff(applied_ns, prepend=self._applied_ns) < 0).sum())
        self._applied_ns = int(applied_ns[-1])
        versions = used[:, _VERSION]
        changes = np.flatnonzero(np.diff(versions, prepend=MIXED - 1))
        for at in changes.tolist():
            version = int(versions[at])
            if self.versions[-1:] != [version]:
                self.versions.append(version)
            first_ns = int(applied_ns[at])
            self.first_ns[version] = min(self.first_ns.get(version, first_ns), first_ns)
