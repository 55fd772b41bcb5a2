"""The law of joint drives, in continuous time and exact for any step of physics.

A setpoint that is written becomes a ramp over one control period, as servo drives interpolate
between the setpoints of a cyclic master. The ramp x passes a lag, and the joint q follows it:

    y' = (x - y) / lag,    q' = 2 pi bandwidth (y - q)

Both are solved in closed form over a step, so that a joint is at the same place at the same
instant whatever the rate of physics, as long as it may turn as fast as the law asks.
"""

from collections.abc import Sequence
from math import copysign, exp, inf, pi
from typing import NamedTuple

from tierloop.contract.clock import NS_PER_S

_ALIKE = 1e-6
"""Two time constants nearer than this are one: the quotient of their differences is its limit."""


class Dynamics(NamedTuple):
    """How fast the drives of a body follow."""

    bandwidth_hz: float
    lag_ms: float


class Drives:
    """The drives of one body: setpoints in, the velocity of each joint over the next step out."""

    def __init__(
        self, dynamics: Dynamics, fastest_rad_s: Sequence[float], control_ns: int, step_ns: int
    ) -> None:
        """`fastest_rad_s`: what the joints turn at most. A control period is whole steps."""
        self._fastest, self._ramp_steps = tuple(fastest_rad_s), control_ns // step_ns
        self._step_s = step_s = step_ns / NS_PER_S
        follow, lag_s = 2 * pi * dynamics.bandwidth_hz, dynamics.lag_ms / 1e3
        self._lag_steps, self._follow_steps = lag_s / step_s, 1.0 / (follow * step_s)
        self._lag_left = exp(-step_s / lag_s) if lag_s else 0.0
        self._follow_left = exp(-follow * step_s)
        # What the joint has gone of what the lagged setpoint was behind at the step's begin.
        apart = follow * step_s - (step_s / lag_s if lag_s else inf)
        gone = (
            (self._lag_left - self._follow_left) / apart if abs(apart) > _ALIKE else self._lag_left
        )
        self._passed = follow * step_s * gone
        self.place((0.0,) * len(self._fastest))

    def place(self, position_rad: Sequence[float]) -> None:
        """At rest in a posture, and driven to stay there."""
        self._from = self._lagged = self._to = list(position_rad)
        self._left = 0

    def write(self, setpoint_rad: Sequence[float]) -> None:
        """The ramp to this setpoint begins with the next step."""
        self._to, self._left = list(setpoint_rad), self._ramp_steps

    @property
    def settled(self) -> bool:
        """Whether the setpoint has been the same for so long that only the joints may lag it."""
        return not self._left and self._lagged == self._from

    def step(self, position_rad: Sequence[float]) -> list[float]:
        """Goes on by one step, at whose begin the joints are here (rad).

        Returns the mean velocity of each joint over it, rad/s.
        """
        left, self._left = self._left, max(0, self._left - 1)
        lag, both = self._lag_steps, self._lag_steps + self._follow_steps
        lag_left, follow_left, passed = self._lag_left, self._follow_left, self._passed
        per_s = 1.0 / self._step_s
        ends, lagged, velocity = [], [], []
        for q, x, y, to, fastest in zip(
            position_rad, self._from, self._lagged, self._to, self._fastest, strict=True
        ):
            ramp = (to - x) / left if left else 0.0
            end = x + ramp
            behind_lag, behind_both = ramp * lag, ramp * both
            late = y - x + behind_lag
            ends.append(end)
            lagged.append(end - behind_lag + late * lag_left)
            q_end = end - behind_both + late * passed + (q - x + behind_both) * follow_left
            v = (q_end - q) * per_s
            velocity.append(v if -fastest < v < fastest else copysign(fastest, v))
        self._from, self._lagged = ends, lagged
        return velocity
