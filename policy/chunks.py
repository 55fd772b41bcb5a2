"""Chunks in time: which setpoint an action chunk means at an instant."""

import numpy as np

from contract.messages import ActionChunk
from contract.specs import Vector


class ChunkPlan:
    """One chunk in force, anchored to the capture time of the observation it answers.

    Row k is due at captured + (k + 1) * period; rows already past when the chunk comes are
    never acted. In between, joints move straight from where the setpoint was towards the next
    row; the switch (last element) takes the row's value at once.
    """

    def __init__(self, chunk: ActionChunk, now_ns: int, setpoint: Vector) -> None:
        """`setpoint` float64[A]: what is in force at `now_ns`."""
        self.chunk = chunk
        self._rows = chunk.actions.astype(np.float64)
        self._from_ns, self._from = now_ns, setpoint
        self._next = max(0, (now_ns - chunk.captured_ns) // chunk.period_ns)

    def valid(self, now_ns: int) -> bool:
        """Whether the chunk may act at `now_ns`."""
        return now_ns <= self.chunk.valid_until_ns and self._row(now_ns) < len(self._rows)

    def at(self, now_ns: int) -> Vector:
        """The setpoint float64[A] at `now_ns`, for which `valid` must hold."""
        row = self._row(now_ns)
        while self._next < row:
            self._from, self._from_ns = self._rows[self._next], self._due_ns(self._next)
            self._next += 1
        span_ns = self._due_ns(row) - self._from_ns
        share = (now_ns - self._from_ns) / span_ns if span_ns > 0 else 1.0
        target = self._rows[row]
        setpoint: Vector = self._from + (target - self._from) * share
        setpoint[-1] = target[-1]
        return setpoint

    def seam_rad(self, other: "ChunkPlan") -> float:
        """Mean disagreement of two chunks' joints where their rows are due within a period."""
        lag = (self.chunk.captured_ns - other.chunk.captured_ns) // self.chunk.period_ns
        rows = min(len(self._rows), len(other._rows) - lag)
        if lag < 0 or rows <= 0:
            return 0.0
        gap = self._rows[:rows, :-1] - other._rows[lag : lag + rows, :-1]
        return float(np.abs(gap).mean())

    def _row(self, now_ns: int) -> int:
        return (now_ns - self.chunk.captured_ns) // self.chunk.period_ns

    def _due_ns(self, row: int) -> int:
        return self.chunk.captured_ns + (row + 1) * self.chunk.period_ns
