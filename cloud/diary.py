"""What the cloud has to tell the roof, collected between two reports."""

from collections import Counter

import numpy as np

from contract.ledger import LEDGER
from contract.messages import Event, Report

EVENTS_MAX = 200
"""Events kept between two reports; those beyond are counted."""

DETAIL_MAX = 200
"""Characters of an event's detail, some of which are a peer's own words."""


class Diary:
    """Counts, gauges and events of one process."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.gauges: dict[str, float] = {}
        self._events: list[Event] = []

    def note(self, now_ns: int, name: str, detail: str = "") -> None:
        """An event: `name` is a word, `detail` a sentence."""
        if len(self._events) >= EVENTS_MAX:
            self.counts["events_dropped"] += 1
            return
        self._events.append(Event(at_ns=now_ns, name=name, detail=detail[:DETAIL_MAX]))

    def report(
        self, now_ns: int, boot: int, counters: dict[str, float], labels: dict[str, str]
    ) -> Report:
        """All counts with `counters` added, and the events since the last report."""
        events, self._events = self._events, []
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
            events=tuple(events),
        )
