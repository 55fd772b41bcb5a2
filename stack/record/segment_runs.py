"""The segment numbers that an edge took in: runs of them, as it packs them, never one by one."""

from bisect import bisect_right
from collections.abc import Iterable

import msgspec

NUMBERS_MAX = 10**8
"""Segment numbers of one boot that are believed."""


class Runs:
    """Numbers of one boot. Memory and time grow with the runs, whatever numbers they claim."""

    def __init__(self, packed: bytes) -> None:
        """`packed`: [first, end) pairs in MessagePack, as the outbox keeps them.

        Raises ValueError for what no run of a stack can make, msgspec.MsgspecError.
        """
        self._firsts: list[int] = []
        self._ends: list[int] = []
        for first, end in sorted(msgspec.msgpack.decode(packed, type=list[tuple[int, int]])):
            if not 0 <= first <= end:
                raise ValueError("numbers that no segment has")
            if self._ends and first <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._firsts.append(first)
                self._ends.append(end)
        if self.count > NUMBERS_MAX:
            raise ValueError("more numbers than a run can make")

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
