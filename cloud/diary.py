"""What the cloud has to tell the roof, collected between two reports."""

from collections import Counter

import numpy as np

from tierloop.contract.events import Events
from tierloop.contract.ledger import LEDGER
from tierloop.contract.messages import Report


class Diary:
    """Counts, gauges and events of one process."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.gauges: dict[str, float] = {}
        self._events = Events()

    def note(self, now_ns: int, name: str, detail: str = "") -> None:
        """An event: `name` is a word, `detail` a sentence."""
        self._events.add(now_ns, name, detail)

    def report(
        self, now_ns: int, boot: int, counters: dict[str, float], labels: dict[str, str]
    ) -> Report:
        """All counts with `counters` added, and the events since the last report."""
        if self._events.dropped:
            self.counts["events_dropped"] = self._events.dropped
        return Report(
            process="cloud",
            role="cloud",
            boot=boot,
            at_ns=now_ns,
            counters={name: float(n) for name, n in self.counts.items()} | counters,
            gauges=dict(self.gauges),
            labels=labels,
            decisions=np.zeros((0, len(LEDGER)), np.int64),
            lateness_ns=np.zeros(0, np.int64),
            outcomes=(),
            events=self._events.take(),
        )
