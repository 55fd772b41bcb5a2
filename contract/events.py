"""Keeps the events between two reports of a process, bounded in number and length."""

from collections import deque
from itertools import chain
from operator import itemgetter

from tierloop.contract.bounds import cut
from tierloop.contract.messages import Event

EVENTS_MAX = 128
"""Events kept between two reports."""
DETAIL_MAX = 200
"""Characters of an event's detail, some of which are a peer's own words."""

_ORDER = itemgetter(0)


class Events:
    """The events since the last report, at most EVENTS_MAX.

    Beyond that the oldest event of the most frequent name is dropped, and `dropped` counts it: many
    events of one name do not push out those of another.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._by_name: dict[str, deque[tuple[int, Event]]] = {}
        self._told = self._waiting = 0

    def add(self, at_ns: int, name: str, detail: str = "") -> None:
        """Adds one event; `name` is a word, `detail` a sentence, cut to DETAIL_MAX characters."""
        event = Event(at_ns=at_ns, name=name, detail=cut(detail, DETAIL_MAX))
        self._by_name.setdefault(name, deque()).append((self._told, event))
        self._told += 1
        self._waiting += 1
        if self._waiting > EVENTS_MAX:
            max(self._by_name.values(), key=len).popleft()
            self._waiting -= 1
            self.dropped += 1

    def take(self) -> tuple[Event, ...]:
        """The events since the last call, in order."""
        events = sorted(chain.from_iterable(self._by_name.values()), key=_ORDER)
        self._by_name.clear()
        self._waiting = 0
        return tuple(event for _, event in events)
