"""Decides which reported outcomes of episodes are believed."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection
from typing import NamedTuple

from tierloop.contract.bounds import MIXED
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.messages import Outcome, Segment, SegmentId

LATE_NS = 60 * NS_PER_S
"""An outcome lies within the stamps of its segment, give or take this much: so long may a body's
sensors have been silent. What it comes to after that says nothing of a policy."""

ROOM = 16
"""Outcomes of a segment beyond one a decision."""

Acted = Callable[[int, SegmentId], bool]
"""Whether a version may have acted in a segment."""


class Heard(NamedTuple):
    """An outcome that is believed, and of which robot."""

    robot: str
    outcome: Outcome


class Witness:
    """What each boot of a robot has told so far.

    Segments may come in any order, a boot's episodes are numbered in the order in which they began.
    """

    def __init__(self, robots: Collection[str] | None = None) -> None:
        """Only `robots` are believed, or all if it is None."""
        self._robots = robots
        self._told: dict[tuple[str, int], list[tuple[int, int]]] = {}

    def hear(
        self, key: SegmentId, segment: Segment, acted: Acted
    ) -> tuple[list[Heard], Counter[str]]:
        """What is believed of a segment, and how much is not, by reason."""
        believed: list[Heard] = []
        refused: Counter[str] = Counter()
        for outcome in segment.outcomes:
            reason = self._objection(key, segment, outcome, acted, len(believed))
            if reason:
                refused[reason] += 1
            else:
                believed.append(Heard(key.device, outcome))
        return believed, refused

    def _objection(
        self, key: SegmentId, segment: Segment, outcome: Outcome, acted: Acted, so_far: int
    ) -> str:
        if self._robots is not None and key.device not in self._robots:
            return "stranger"
        if outcome.policy_version != MIXED and not acted(outcome.policy_version, key):
            return "version"
        if not _timely(outcome, segment):
            return "time"
        if so_far >= len(segment.captured_ns) + ROOM:
            return "many"
        told = self._told.setdefault((key.device, key.boot), [])
        at = bisect_left(told, (outcome.number,))
        if at < len(told) and told[at][0] == outcome.number:
            return "number"
        before, after = told[max(0, at - 1) : at], told[at : at + 1]
        began = outcome.started_ns
        if any(t >= began for _, t in before) or any(t <= began for _, t in after):
            return "order"
        told.insert(at, (outcome.number, began))
        return ""


def _timely(outcome: Outcome, segment: Segment) -> bool:
    stamps = segment.captured_ns
    if outcome.number < 0 or not 0 <= outcome.started_ns < outcome.ended_ns:
        return False
    if not len(stamps):
        return True
    return bool(stamps[0] - LATE_NS <= outcome.ended_ns <= stamps[-1] + LATE_NS)
