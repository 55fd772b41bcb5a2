"""What the stack itself costs in a control tick, apart from the body's own read and write."""

import time

import numpy as np

from tierloop.contract.body import Body, Embodiment, Reading
from tierloop.contract.messages import Observation
from tierloop.contract.specs import Vector
from tierloop.device.config import DeviceConfig
from tierloop.device.rate import Rate
from tierloop.device.unlinked import Unlinked

SEAM_RAD = 0.01
"""From one answer to the next, so that the setpoint fades; those of a policy differ as much."""


class _Timed:
    """A body with a stopwatch: `spent_ns` is the time in its read and write."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.spec, self.tool_position = body.spec, body.tool_position
        self.hold, self.close = body.hold, body.close
        self.spent_ns = 0

    def read(self, now_ns: int) -> Reading:
        begun_ns = time.perf_counter_ns()
        reading = self._body.read(now_ns)
        self.spent_ns += time.perf_counter_ns() - begun_ns
        return reading

    def write(self, setpoint: Vector) -> None:
        begun_ns = time.perf_counter_ns()
        self._body.write(setpoint)
        self.spent_ns += time.perf_counter_ns() - begun_ns


class Ticks:
    """A control loop that does not wait; each question is answered in the next tick.

    The answers are by turns to stay and to be SEAM_RAD further, within the action's bounds.
    `bodily` and `deciding` hold an array a block, microseconds: the body's own time of each tick,
    and the stack's in the ticks that decide.
    """

    def __init__(self, robot: Embodiment, config: DeviceConfig) -> None:
        self._body, spec = _Timed(robot.body), robot.policy
        self.device = Unlinked("arm-0", 1, robot._replace(body=self._body), config, "benchmark")
        self._rate = Rate(robot.body.spec.control_period_ns, 0)
        self._asked: Observation | None = None
        bounds = spec.action.low, spec.action.high
        hold = np.clip(robot.body.hold(), *bounds)
        further = np.clip(hold + np.append(np.full(hold.size - 1, SEAM_RAD), 0.0), *bounds)
        self._rows = [np.tile(at.astype(np.float32), (spec.horizon, 1)) for at in (hold, further)]
        self.bodily: list[np.ndarray] = []
        self.deciding: list[np.ndarray] = []

    def block(self, ticks: int) -> list[float]:
        """The stack's own microseconds, one figure a tick; a report follows, as once a second."""
        found = [self._tick() for _ in range(ticks)]
        self.device.node.report(self._rate.deadline_ns)
        self.bodily.append(np.array([body for _, body, _ in found]))
        self.deciding.append(np.array([own for own, _, decides in found if decides]))
        return [own for own, _, _ in found]

    def clear(self) -> None:
        """Forgets the blocks so far, which warmed up."""
        self.bodily.clear()
        self.deciding.clear()

    def _tick(self) -> tuple[float, float, bool]:
        """Own and bodily microseconds, and whether the tick decided."""
        self._body.spent_ns = 0
        begun_ns = time.perf_counter_ns()
        now_ns = self._rate.deadline_ns
        self._rate.tick(now_ns)
        if self._asked is not None:
            self.device.answer(now_ns, self._asked, self._rows[self._asked.seq % 2])
        self._asked = self.device.tick(now_ns)
        passed_ns, bodily_ns = time.perf_counter_ns() - begun_ns, self._body.spent_ns
        return (passed_ns - bodily_ns) / 1e3, bodily_ns / 1e3, self._asked is not None
