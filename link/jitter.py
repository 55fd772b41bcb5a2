"""The jitter of one direction of a link: a process in time that keeps the order of messages.

A link stalls again and again, sometimes for long, mostly for a moment; a message waits until the
longest stall under way is over. So what is sent during a stall comes out together at its end,
nothing overtakes, and to send more often does not make the messages later: the wait is the link's.

Stalls begin by chance at any time. For a wait of which the share F(x) is at most x, those of
which x is left must begin at the rate F'(x) / F(x), which needs a concave log F. Then exactly

    P(wait <= x) = F(x), at every instant
    wait(t + d) = max(wait(t) - d, the longest rest of the stalls begun since t)

F is the generalised extreme value distribution through the median, p90 and p99, cut off at the
longest wait: the wait is a + b (level + m)^-k, with level = -log F and level 0 for the longest.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tierloop.contract.clock import NS_PER_MS

_DRAWS = 256
_LEVELS = tuple(-math.log(share) for share in (0.5, 0.9, 0.99))
_RARE, _NEVER = 1e-9, 1e-15
"""Shares of the messages: to cut off less than the first changes nothing, less than the second
does not happen."""
_FOREVER_MS = 1e12
_SHAPES = (-0.95, 12.0)
"""At k = -1 log F is no longer concave; beyond 12 numbers get too large."""
_HALVINGS = 40


class Law(NamedTuple):
    """How long messages wait. All of it follows from the four numbers given to `law`."""

    a_ms: float
    b_ms: float
    k: float
    m: float
    max_ms: float

    def wait_ms(self, level: float) -> float:
        """The wait that a share of exp(-level) of the messages does not exceed."""
        return min(self.a_ms + self.b_ms * float((level + self.m) ** -self.k), self.max_ms)


@lru_cache(maxsize=256)
def law(p50_ms: float, p90_ms: float, p99_ms: float, max_ms: float) -> Law:
    """The distribution through these points; with `max_ms` 0 it has no end.

    Raises ValueError, in terms of a link's keys, for points that it cannot meet.
    """
    points = (p50_ms, p90_ms, p99_ms)
    if not p50_ms < p90_ms < p99_ms:
        raise ValueError(
            "jitter_p50_ms, jitter_p90_ms and jitter_p99_ms must all be 0, or each greater than "
            f"the one before, got {p50_ms:g}, {p90_ms:g}, {p99_ms:g}"
        )
    found = _through(points, _NEVER)
    if found is None:
        raise ValueError(
            f"jitter_p99_ms is too near to jitter_p90_ms, or beyond all measure, got {p99_ms:g} "
            f"after {p50_ms:g} and {p90_ms:g}"
        )
    if not max_ms or found.wait_ms(_RARE) <= max_ms:
        return found._replace(max_ms=max_ms or _FOREVER_MS)
    low, high = math.log(_NEVER), math.log(10.0)
    for _ in range(_HALVINGS):  # the more is cut off, the nearer is the longest wait
        middle = (low + high) / 2
        tried = _through(points, math.exp(middle))
        beyond = tried is not None and tried.wait_ms(0.0) > max_ms
        low, high = (middle, high) if beyond else (low, middle)
    found = _through(points, math.exp(low))
    if found is None or found.wait_ms(0.0) > max_ms * 1.001:
        raise ValueError(
            f"jitter_max_ms must be farther from jitter_p99_ms, got {max_ms:g} and {p99_ms:g}"
        )
    return found._replace(max_ms=max_ms)


def _through(points: tuple[float, float, float], m: float) -> Law | None:
    """The law of this m through p50, p90, p99, if there is one."""
    p50_ms, p90_ms, p99_ms = points
    ratio = (p99_ms - p90_ms) / (p90_ms - p50_ms)
    logs = [math.log(level + m) for level in _LEVELS]
    low, high = _SHAPES
    for _ in range(_HALVINGS):  # the tail grows with k
        k = (low + high) / 2 or _RARE
        p50, p90, p99 = (math.exp(-k * log) for log in logs)
        low, high = (k, high) if (p99 - p90) / (p90 - p50) < ratio else (low, k)
    if min(k - _SHAPES[0], _SHAPES[1] - k) < _RARE:
        return None
    b_ms = (p90_ms - p50_ms) / (p90 - p50)
    return Law(p50_ms - b_ms * p50, b_ms, k, m, _FOREVER_MS)


class Jitter:
    """What is added to the delay of a message, by the instant at which it is on the link."""

    def __init__(self, law: Law, rng: np.random.Generator) -> None:
        self._law, self._rng = law, rng
        self._wait_ms = 0.0
        self._at_ns: int | None = None
        self._draws: list[tuple[float, float]] = []

    def wait_ns(self, at_ns: int) -> int:
        """How long a message waits that is on the link at `at_ns`; instants do not go back."""
        passed_ms = math.inf if self._at_ns is None else (at_ns - self._at_ns) / NS_PER_MS
        if passed_ms > 0:
            left_ms = self._wait_ms - passed_ms
            self._at_ns = at_ns
            self._wait_ms = self._longest(left_ms if left_ms > 0 else 0.0, passed_ms)
        return int(self._wait_ms * NS_PER_MS)

    def _longest(self, left_ms: float, passed_ms: float) -> float:
        """The rest of the longest stall; of those begun before `passed_ms` ago `left_ms` is left.

        Draws the rests of all stalls under way from the longest down, each with its stall's length,
        until one has begun since or is no longer than what is left anyway.
        """
        a_ms, b_ms, k, level, max_ms = self._law
        while True:
            if not self._draws:
                exponential = self._rng.standard_exponential((2, _DRAWS))
                exponential[1] = np.exp(-exponential[1] / (1 + k))
                self._draws = list(zip(*exponential.tolist(), strict=True))
            step, share = self._draws.pop()
            level += step
            rest_ms: float = a_ms + b_ms * level**-k
            if rest_ms <= left_ms:
                return left_ms
            if max_ms - rest_ms <= passed_ms:
                return min(rest_ms, max_ms)
            length_ms: float = min(a_ms + b_ms * (level * share) ** -k, max_ms)
            if length_ms - rest_ms <= passed_ms:
                return rest_ms
