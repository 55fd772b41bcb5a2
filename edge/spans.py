"""A set of integers kept as runs without gaps: the stored segment numbers of one boot."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Spans:
    """Disjoint runs [first, end), ascending. Memory grows with the gaps, not with the members."""

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._ends: list[int] = []
        for first, end in runs:
            self._firsts.append(first)
            self._ends.append(end)

    @property
    def runs(self) -> list[tuple[int, int]]:
        return list(zip(self._firsts, self._ends, strict=True))

    def __len__(self) -> int:
        """The number of runs."""
        return len(self._firsts)

    @property
    def count(self) -> int:
        """The number of members."""
        return sum(self._ends) - sum(self._firsts)

    def __iter__(self) -> Iterator[int]:
        """The members, ascending."""
        return (number for run in self.runs for number in range(*run))

    @property
    def below(self) -> int:
        """The first number that is not a member, counted from 0."""
        return self._ends[0] if self._firsts and self._firsts[0] == 0 else 0

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number)
        return at > 0 and number < self._ends[at - 1]

    def copy(self) -> "Spans":
        return Spans(self.runs)

    def forget(self, most: int) -> int:
        """Keeps at most `most` runs: the first if it begins at 0, and the highest.

        Returns how many were dropped.
        """
        surplus = max(0, len(self._firsts) - most)
        at = 1 if self.below else 0
        del self._firsts[at : at + surplus]
        del self._ends[at : at + surplus]
        return surplus

    def add(self, number: int) -> bool:
        """Adds a number >= 0. Returns False if it was a member already."""
        if number in self:
            return False
        firsts, ends = self._firsts, self._ends
        at = bisect_right(firsts, number)
        after = at > 0 and ends[at - 1] == number
        before = at < len(firsts) and firsts[at] == number + 1
        if after and before:
            del firsts[at]
            del ends[at - 1]
        elif after:
            ends[at - 1] = number + 1
        elif before:
            firsts[at] = number
        else:
            firsts.insert(at, number)
            ends.insert(at, number + 1)
        return True
