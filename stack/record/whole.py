"""The record of a run with every row of it, to tell it again; memory grows with the run."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from tierloop.contract.ledger import LEDGER
from tierloop.contract.messages import Outcome, Report
from tierloop.contract.specs import PolicySpec
from tierloop.stack.record.record import DEVICE, Life, LifeId, Record
from tierloop.stack.record.tally import LedgerRows


class WholeRecord(Record):
    """Keeps the rows and outcomes of devices besides."""

    def __init__(self, spec: PolicySpec) -> None:
        super().__init__(spec)
        self._rows: dict[LifeId, list[LedgerRows]] = defaultdict(list)
        self._judged: dict[LifeId, list[Outcome]] = defaultdict(list)

    def take(self, report: Report) -> None:
        super().take(report)
        if report.role == DEVICE:
            self._rows[report.process, report.boot].append(report.decisions)
            self._judged[report.process, report.boot] += report.outcomes

    def decisions(self) -> LedgerRows:
        """The ledger, int64[R, C], all devices one after the other."""
        return _stack([rows for _, rows in self.ledgers()])

    def ledgers(self) -> Iterator[tuple[Life, LedgerRows]]:
        """Each device life with its own rows."""
        for life in self.of(DEVICE):
            yield life, _stack(self._rows[life.process, life.boot])

    def judged(self, life: Life) -> list[Outcome]:
        """The judged episodes of one life of a device, in order."""
        return self._judged[life.process, life.boot]


def _stack(pieces: list[LedgerRows]) -> LedgerRows:
    return np.concatenate([np.zeros((0, len(LEDGER)), np.int64), *pieces])
