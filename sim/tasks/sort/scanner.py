"""The scanning station over the start of the belt: measures position and class of parts."""

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from tierloop.contract.body import Scan
from tierloop.contract.clock import NS_PER_MS, period_ns
from tierloop.sim.tasks.sort.layout import SCAN_END_M

if TYPE_CHECKING:
    from tierloop.sim.scenario import Scenario
    from tierloop.sim.tasks.sort.scene import BeltPart
    from tierloop.sim.world import Triple


class Scanner:
    """Scans at its own rate, with noise and dropouts; a scan arrives some time after its capture.

    `position_m` of a scan is the middle of the part's top.
    """

    def __init__(self, scenario: "Scenario") -> None:
        self._period_ns = period_ns(scenario.scan_hz)
        self._latency_ns = round(scenario.scan_latency_ms * NS_PER_MS)
        self._noise_m = scenario.scan_noise_m
        self._dropout = scenario.scan_dropout
        self._rng = np.random.default_rng(0)
        self._next_ns = 0
        self._under_way: deque[Scan] = deque()

    def start(self, seed: int, now_ns: int) -> None:
        """Starts scanning now, with the noise of this seed."""
        self._rng = np.random.default_rng((seed, 0))
        self._next_ns = now_ns + self._period_ns
        self._under_way.clear()

    def due(self, now_ns: int) -> bool:
        """Whether a scan is to be captured now."""
        return now_ns >= self._next_ns

    def capture(self, now_ns: int, part: "BeltPart", at_m: "Triple") -> None:
        """Scans the travelling part, whose centre is at `at_m`, if it is in view."""
        self._next_ns += self._period_ns
        seen = self._rng.random() >= self._dropout
        dx, dy, dz = self._rng.normal(0.0, self._noise_m, 3).tolist()
        if seen and at_m[1] < SCAN_END_M:
            top = (at_m[0] + dx, at_m[1] + dy, at_m[2] + part.height_m / 2 + dz)
            self._under_way.append(Scan(now_ns, part.number, top, part.kind, part.height_m))

    def arrived(self, now_ns: int) -> list[Scan]:
        """The scans that have arrived by now, each once."""
        scans = []
        while self._under_way and now_ns >= self._under_way[0].captured_ns + self._latency_ns:
            scans.append(self._under_way.popleft())
        return scans
