"""Histograms that can be merged: samples of a run of any length in memory that does not grow."""

import numpy as np
from numpy.typing import NDArray

from tierloop.contract.clock import NS_PER_S

IntVector = NDArray[np.int64]

PER_OCTAVE = 256
"""Bins from one power of two to the next: a bin's middle is within 0.2 % of what is in it."""
OCTAVES = 45
"""The last bin takes all from 2^45 ns on, some ten hours."""
STRETCHES_MAX = 32
SHORTEST_NS = NS_PER_S // 4


class Histogram:
    """Counts of non-negative integers; what is below 1 counts as 0."""

    def __init__(self) -> None:
        self.counts = np.zeros(OCTAVES * PER_OCTAVE + 1, np.int64)
        self.max = 0

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    def add(self, values: IntVector) -> None:
        """Adds samples, int64[n]."""
        if len(values):
            # frexp is exact, so that a sample falls into the same bin on every processor.
            mantissa, exponent = np.frexp(np.maximum(values, 0).astype(np.float64))
            bins = (exponent - 1) * PER_OCTAVE + (mantissa * (2 * PER_OCTAVE)).astype(np.int64)
            bins = np.clip(bins - PER_OCTAVE + 1, 0, len(self.counts) - 1)
            np.add.at(self.counts, np.where(values < 1, 0, bins), 1)
            self.max = max(self.max, int(values.max()))

    def merge(self, other: "Histogram") -> None:
        self.counts += other.counts
        self.max = max(self.max, other.max)

    def percentiles(self, ranks: tuple[float, ...]) -> NDArray[np.float64]:
        """The percentiles of `samples`, interpolated as numpy does. There must be a sample."""
        ends, middles = np.cumsum(self.counts), self._middles()
        at = np.array(ranks) / 100.0 * (ends[-1] - 1)
        low = middles[np.searchsorted(ends, np.floor(at), side="right")]
        high = middles[np.searchsorted(ends, np.ceil(at), side="right")]
        found: NDArray[np.float64] = low + (high - low) * (at - np.floor(at))
        return found

    def bins(self) -> tuple[NDArray[np.float64], IntVector]:
        """The middles of the bins that hold a sample, ascending, float64[b], and their counts."""
        held = self.counts > 0
        return self._middles()[held], self.counts[held]

    def samples(self) -> NDArray[np.float64]:
        """The samples in order of size, float64[n], each as the middle of its bin."""
        return np.repeat(self._middles(), self.counts)

    def _middles(self) -> NDArray[np.float64]:
        octave, part = np.divmod(np.arange(OCTAVES * PER_OCTAVE), PER_OCTAVE)
        middles = np.ldexp(1.0 + (part + 0.5) / PER_OCTAVE, octave)
        found: NDArray[np.float64] = np.minimum(np.concatenate([[0.0], middles]), float(self.max))
        return found


class Stretches:
    """Samples over the time of a run, in at most STRETCHES_MAX stretches of equal length.

    A run that grows longer has longer ones: twice as long each time that they are used up.
    """

    def __init__(self) -> None:
        self._all: list[Histogram] = []
        self._begin_ns: int | None = None
        self._length_ns = SHORTEST_NS

    def add(self, since_ns: int, until_ns: int, values: IntVector) -> None:
        """Adds samples, int64[n], taken at even intervals from one time to the other."""
        if not len(values):
            return
        if self._begin_ns is None:
            self._begin_ns = since_ns
        each_ns = (until_ns - since_ns) / len(values)
        at_ns = since_ns + (np.arange(len(values)) + 0.5) * each_ns
        place = np.maximum(at_ns - self._begin_ns, 0).astype(np.int64)
        while place.max() >= STRETCHES_MAX * self._length_ns:
            self._double()
        place //= self._length_ns
        while len(self._all) <= place.max():
            self._all.append(Histogram())
        for one in np.unique(place):
            self._all[one].add(values[place == one])

    def _double(self) -> None:
        self._length_ns *= 2
        for even, odd in zip(self._all[::2], self._all[1::2], strict=False):
            even.merge(odd)
        del self._all[1::2]

    def whole(self) -> Histogram:
        """All samples together."""
        whole = Histogram()
        for one in self._all:
            whole.merge(one)
        return whole

    def blocks(self) -> tuple[NDArray[np.float64], ...]:
        """The samples of each stretch that has any, by time; within one, by size."""
        return tuple(one.samples() for one in self._all if one.n)
