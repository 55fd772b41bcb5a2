"""The rows to learn from: all until there are too many, then a uniform sample of all that came."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tierloop.contract.specs import FloatArray

ALONE_ROWS = 2000
"""So many rows one robot may bring however little the others do; beyond it, as many as they do."""
TWIN = ""
"""Owns the rows of the twin, which are not bounded by those of others."""

Owners = NDArray[np.int32]


class Reservoir:
    """At most `rows_max` rows: each that ever came is among them with the same probability.

    Vitter 1985, algorithm R. Same seed, same rows in the same order: same sample.
    """

    def __init__(self, rows_max: int, seed: int) -> None:
        self._rows_max, self._random = rows_max, np.random.default_rng(seed)
        self._pieces: list[tuple[FloatArray, FloatArray, Owners]] = []
        self._names = [TWIN]
        self._held = self.seen = 0

    def add(
        self, features: FloatArray, labels: FloatArray, owners: Sequence[tuple[str, int]]
    ) -> None:
        """Adds float32[N, D] features and float32[N, H, A] labels; `owners` as in Experience."""
        self._names += [name for name, _ in owners if name not in self._names]
        numbers = np.array([self._names.index(name) for name, _ in owners], np.int32)
        new = features, labels, np.repeat(numbers, [rows for _, rows in owners])
        room = min(len(features), self._rows_max - self._held)
        if room:
            # Copies: later rows replace some.
            self._pieces.append((features[:room].copy(), labels[:room].copy(), new[2][:room]))
            self._held += room
        self.seen += len(features)
        if room < len(features):
            instead = self._random.integers(
                0, np.arange(self.seen - (len(features) - room), self.seen) + 1
            )
            kept = instead < self._rows_max
            for held, came in zip(self._whole(), new, strict=True):
                held[instead[kept]] = came[room:][kept]

    def rows(self) -> tuple[FloatArray, FloatArray]:
        """Features and labels, of which no robot has more than all the others together.

        Raises ValueError if no row ever came.
        """
        if not self._pieces:
            raise ValueError("there is no row to learn from")
        features, labels, owners = self._whole()
        chosen = shared(owners)
        return features[chosen], labels[chosen]

    def _whole(self) -> tuple[FloatArray, FloatArray, Owners]:
        if len(self._pieces) > 1:
            features, labels, owners = zip(*self._pieces, strict=True)
            whole = np.concatenate(features), np.concatenate(labels), np.concatenate(owners)
            self._pieces = [whole]
        return self._pieces[0]


def shared(owners: Owners) -> NDArray[np.int64] | slice:
    """Which rows to learn from, by the number of each row's owner; 0 is the twin.

    Of a robot that has lived more than the others together, rows evenly spread over all it has.
    """
    lived = np.bincount(owners, minlength=1)
    lived[0] = 0
    robot, total = int(lived.argmax()), int(lived.sum())
    bound = max(ALONE_ROWS, total - int(lived[robot]))
    if lived[robot] <= bound or total == lived[robot]:
        return slice(None)
    its = np.flatnonzero(owners == robot)
    kept = its[np.linspace(0, len(its) - 1, bound).astype(np.int64)]
    return np.sort(np.concatenate([np.flatnonzero(owners != robot), kept]))
