"""Keeps the account of a node between two reports: counts, gauges, and bounded events."""

from collections import Counter, deque
from itertools import chain
from operator import itemgetter

import numpy as np

from tierloop.contract.bounds import cut
from tierloop.contract.ledger import LEDGER
from tierloop.contract.messages import Event, Report

EVENTS_MAX = 128
"""Events kept between two reports."""
DETAIL_MAX = 200
"""Characters of an event's detail, some of which are a peer's own words."""

_ORDER = itemgetter(0)


class Account:
    """What a node has to report, at most EVENTS_MAX events of it; the parts of a tier share one.

    `counts` only grow; `gauges` are momentary. Beyond EVENTS_MAX the oldest event of the most
    frequent name is dropped, and `dropped` counts it: many events of one name do not push out
    those of another.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.gauges: dict[str, float] = {}
        self.dropped = 0
        self._by_name: dict[str, deque[tuple[int, Event]]] = {}
        self._told = self._waiting = 0

    def event(self, at_ns: int, name: str, detail: str = "") -> None:
        """Adds one event; `name` is a word, `detail` a sentence, cut to DETAIL_MAX characters."""
        event = Event(at_ns=at_ns, name=name, detail=cut(detail, DETAIL_MAX))
        self._by_name.setdefault(name, deque()).append((self._told, event))
        self._told += 1
        self._waiting += 1
        if self._waiting > EVENTS_MAX:
            max(self._by_name.values(), key=len).popleft()
            self._waiting -= 1
            self.dropped += 1

    def take_events(self) -> tuple[Event, ...]:
        """Returns the events since the last call, in order."""
        events = sorted(chain.from_iterable(self._by_name.values()), key=_ORDER)
        self._by_name.clear()
        self._waiting = 0
        return tuple(event for _, event in events)

    def report(
        self, name: str, boot: int, at_ns: int, counters: dict[str, float], labels: dict[str, str]
    ) -> Report:
        """The report of a server, which decides nothing itself: `counters` are added to the counts.

        `name` is its process and its role.
        """
        if self.dropped:
            self.counts["events_dropped"] = self.dropped
        return Report(
            process=name, role=name, boot=boot, at_ns=at_ns,
            counters={n: float(count) for n, count in self.counts.items()} | counters,
            gauges={n: float(value) for n, value in self.gauges.items()}, labels=labels,
            decisions=np.zeros((0, len(LEDGER)), np.int64), lateness_ns=np.zeros(0, np.int64),
            outcomes=(), events=self.take_events(),
        )  # fmt: skip
