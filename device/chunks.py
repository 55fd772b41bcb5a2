"""Turns an action chunk into a setpoint at any instant, with blending between chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np

from tierloop.contract.clock import NS_PER_S
from tierloop.contract.messages import ActionChunk
from tierloop.contract.specs import BodySpec, Vector
from tierloop.device.origin import ChunkShare, Origin

FADES = 16
"""Most plans that may still be fading when another one comes; fewer are answered in time."""

Fade = Callable[[Sequence[float]], int]
"""How long to fade over from one plan to the next, ns, when joints are so far apart, rad."""


def never(_gap_rad: Sequence[float]) -> int:
    """No fade, however far apart the plans are."""
    return 0


def by_motion(body: BodySpec, most_ns: int) -> Fade:
    """A fade as short as the limits of the joints allow; never longer than `most_ns`."""
    limits = tuple(zip(body.velocity_rad_s, body.acceleration_rad_s2, strict=True))
    return lambda gap_rad: min(motion_ns(limits, gap_rad), most_ns)


def motion_ns(limits: Sequence[tuple[float, float]], gap_rad: Sequence[float]) -> int:
    """The shortest time in which every joint can move by its gap, from rest to rest.

    `limits`: each joint's velocity, rad/s, and acceleration, rad/s2. A joint speeds up for half of
    the way and slows down for the other half, unless its velocity limit is in between.
    """
    longest_s = 0.0
    for gap, (fastest, acceleration) in zip(gap_rad, limits, strict=True):
        way = abs(gap)
        top = min(sqrt(way * acceleration), fastest)
        longest_s = max(longest_s, way / top + top / acceleration if way else 0.0)
    return round(longest_s * NS_PER_S)


class ChunkPlan:
    """One chunk in force.

    Row k is due at anchor + (k + 1) * period. Between rows each joint moves linearly to the next
    row; the switch (last element) takes the row's value at once. A chunk that comes after its first
    row was due acts as if it had been there: rows that are past are skipped, and it goes on between
    the last of them and the next. Before the first row is due the joints move to it from where the
    setpoint was. If the plan that is blended out expires during the blend, the blend goes on from
    the setpoint at that moment. Plain floats: for a few joints they take a third of the time of
    arrays.
    """

    def __init__(
        self,
        chunk: ActionChunk,
        now_ns: int,
        setpoint: Vector,
        anchor_ns: int | None = None,
        before: ChunkPlan | None = None,
        fade: Fade = never,
        origin: Origin | None = None,
    ) -> None:
        """`setpoint` float64[A] is what is in force at `now_ns`, made of `origin` if of any chunk.

        Anchored to the chunk's own anchor unless another is given. The joints fade over
        from the plan `before` for as long as `fade` says, by how far apart the two will be when the
        next row is due, and never shorter than `before` is itself still fading: where the two agree
        the setpoint may yet be on its way there. Not if `before` has expired, or FADES others are
        fading into it one after the other.
        """
        self.chunk = chunk
        self._anchor_ns = chunk.anchor_ns if anchor_ns is None else anchor_ns
        self._actions = chunk.actions.astype(np.float64)
        self._rows: list[list[float]] = self._actions.tolist()
        self._since_ns = self._was_ns = now_ns
        self._left = self._was = setpoint.tolist()
        self._own = self._left_origin = Origin.of((chunk, 1.0))
        self._start = origin
        row = min(self._row(now_ns), len(self._rows) - 1)
        if row:
            self._start = None
            self._head(row, self._rows[row - 1], self._due_ns(row - 1))
        else:
            self._head(row, self._was, now_ns)
        fade_ns = 0
        if before is not None and before.valid(now_ns) and before.fades < FADES:
            there = before._foreseen(self._next_ns)
            gap_rad = [b - a for a, b in zip(there, self._rows[row], strict=True)][:-1]
            fade_ns = max(fade(gap_rad), before._faded_ns - now_ns)
        self._before = before if fade_ns else None
        self._faded_ns: int = now_ns + fade_ns
        end_ns = self._due_ns(len(self._rows) - 1)
        self._last_ns = min(chunk.valid_until_ns, end_ns - 1)

    def valid(self, now_ns: int) -> bool:
        """Whether the chunk is still valid at `now_ns`."""
        return now_ns <= self._last_ns

    @property
    def fades(self) -> int:
        """Number of earlier plans that are still blended into this one."""
        return 0 if self._before is None else 1 + self._before.fades

    def at(self, now_ns: int) -> Vector:
        """The setpoint float64[A] at `now_ns`; the chunk must be valid. Time must not go back."""
        return np.array(self._at(now_ns))

    def _at(self, now_ns: int) -> list[float]:
        if self._before is not None and not self._before.valid(now_ns):
            self._left_origin = Origin.of(*self.parts(self._was_ns))
            self._before, self._left, self._since_ns = None, self._was, self._was_ns
        while now_ns >= self._next_ns:
            self._head(self._next + 1, self._rows[self._next], self._next_ns)
            self._start = None
        share = (now_ns - self._from_ns) / (self._next_ns - self._from_ns)
        setpoint = [a + way * share for a, way in zip(self._from, self._way, strict=True)]
        setpoint[-1] = self._rows[self._next][-1]
        if now_ns < self._faded_ns:
            return self._faded(now_ns, setpoint)
        self._before = None
        return setpoint

    def origin(self, now_ns: int) -> Origin:
        """What the setpoint that `at` returned for `now_ns` is made of.

        On the way to its first row a plan still holds some of the setpoint that it began at.
        """
        own = self._own
        if self._start is not None:
            way = (now_ns - self._from_ns) / (self._next_ns - self._from_ns)
            own = own.faded(self._start, way)
        if now_ns >= self._faded_ns:
            return own
        earlier = self._left_origin if self._before is None else self._before.origin(now_ns)
        share = (now_ns - self._since_ns) / (self._faded_ns - self._since_ns)
        return own.faded(earlier, share)

    def parts(self, now_ns: int) -> list[ChunkShare]:
        """As `origin`, each chunk with its share; a chunk may be there more than once."""
        found = [(self.chunk, 1.0)]
        if self._start is not None:
            way = (now_ns - self._from_ns) / (self._next_ns - self._from_ns)
            found = [(self.chunk, way), *((c, s * (1.0 - way)) for c, s in self._start.parts)]
        if now_ns >= self._faded_ns:
            return found
        share = (now_ns - self._since_ns) / (self._faded_ns - self._since_ns)
        before = self._left_origin.parts if self._before is None else self._before.parts(now_ns)
        return [*((c, s * share) for c, s in found), *((c, s * (1.0 - share)) for c, s in before)]

    def _head(self, row: int, start: list[float], start_ns: int) -> None:
        """From where the setpoint is towards a row."""
        self._from, self._from_ns = start, start_ns
        self._next, self._next_ns = row, self._due_ns(row)
        self._way = [b - a for a, b in zip(start, self._rows[row], strict=True)]

    def foreseen(self, at_ns: int) -> Vector:
        """Returns the setpoint float64[A] expected at `at_ns`, not before the last `at`.

        After the last row it is that row. Blending is left out.
        """
        return np.array(self._foreseen(at_ns))

    def _foreseen(self, at_ns: int) -> list[float]:
        row = min(self._row(at_ns), len(self._rows) - 1)
        if row <= self._next:
            return self._between(self._from, self._from_ns, row, at_ns)
        return self._between(self._rows[row - 1], self._due_ns(row - 1), row, at_ns)

    def seam_rad(self, other: ChunkPlan) -> float:
        """Mean difference (rad) between the rows of two plans that are due at the same time."""
        lag = round((self._anchor_ns - other._anchor_ns) / self.chunk.period_ns)
        rows = min(len(self._rows), len(other._rows) - lag)
        if lag < 0 or rows <= 0:
            return 0.0
        gap = self._actions[:rows, :-1] - other._actions[lag : lag + rows, :-1]
        return float(np.abs(gap).mean())

    def _between(self, start: list[float], start_ns: int, row: int, at_ns: int) -> list[float]:
        span_ns = self._due_ns(row) - start_ns
        share = min((at_ns - start_ns) / span_ns, 1.0) if span_ns > 0 else 1.0
        target = self._rows[row]
        setpoint = [a + (b - a) * share for a, b in zip(start, target, strict=True)]
        setpoint[-1] = target[-1]
        return setpoint

    def _faded(self, now_ns: int, setpoint: list[float]) -> list[float]:
        start = self._left if self._before is None else self._before._at(now_ns)
        share = (now_ns - self._since_ns) / (self._faded_ns - self._since_ns)
        faded = [a + (b - a) * share for a, b in zip(start, setpoint, strict=True)]
        faded[-1] = setpoint[-1]
        self._was, self._was_ns = faded, now_ns
        return faded

    def _row(self, now_ns: int) -> int:
        return max(0, (now_ns - self._anchor_ns) // self.chunk.period_ns)

    def _due_ns(self, row: int) -> int:
        return self._anchor_ns + (row + 1) * self.chunk.period_ns
