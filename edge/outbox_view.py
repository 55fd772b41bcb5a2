"""What the edge's outbox holds, for those who only read it.

Each function asks an open database, changes nothing, and raises sqlite3.Error.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from tierloop.contract.messages import SegmentId

NUMBERS_MAX = 10**8
"""Segment numbers of one boot that are believed."""


class WaitingSegment(NamedTuple):
    """A segment that waits for the cloud: `digest` is that of the body as the device sealed it."""

    key: SegmentId
    digest: int


class Runs:
    """The segment numbers of one boot, as runs without a gap.

    Memory and time grow with the runs, whatever numbers they claim.
    """

    def __init__(self, packed: bytes) -> None:
        """`packed`: [first, end) pairs in MessagePack, as the outbox keeps them.

        Raises ValueError for what no run of a stack can make, msgspec.MsgspecError.
        """
        self._firsts: list[int] = []
        self._ends: list[int] = []
        for first, end in sorted(msgspec.msgpack.decode(packed, type=list[tuple[int, int]])):
            if not 0 <= first <= end:
                raise ValueError("impossible segment numbers")
            if self._ends and first <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._firsts.append(first)
                self._ends.append(end)
        if self.count > NUMBERS_MAX:
            raise ValueError("more segment numbers than a run can produce")

    @property
    def count(self) -> int:
        return sum(self._ends) - sum(self._firsts)

    @property
    def top(self) -> int:
        """The highest number; -1 if there is none."""
        return self._ends[-1] - 1 if self.count else -1

    def among(self, numbers: Iterable[object]) -> int:
        """How many of `numbers`, each different, are members."""
        return sum(isinstance(number, int) and self._has(number) for number in numbers)

    def _has(self, number: int) -> bool:
        at = bisect_right(self._firsts, number)
        return at > 0 and number < self._ends[at - 1]


def waiting(db: sqlite3.Connection) -> Iterator[WaitingSegment]:
    query = "SELECT device, boot, seq, digest FROM parcels"
    return (WaitingSegment(SegmentId(*key), digest) for *key, digest in db.execute(query))


def taken_in(db: sqlite3.Connection) -> list[tuple[str, int, Runs]]:
    """Of each device and boot, which numbers the edge has ever taken in.

    Raises ValueError and msgspec.MsgspecError where they are damaged.
    """
    rows = db.execute("SELECT device, boot, runs FROM marks")
    return [(device, boot, Runs(packed)) for device, boot, packed in rows]


def dropped(db: sqlite3.Connection) -> list[int]:
    """How many segments the edge dropped of each priority, for lack of space or as refused."""
    return [segments for (segments,) in db.execute("SELECT parcels FROM shed")]
