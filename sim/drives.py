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
        self._joints = range(len(self._fastest))
        step_s = step_ns / NS_PER_S
        follow, lag_s = 2 * pi * dynamics.bandwidth_hz, dynamics.lag_ms / 1e3
        lag_left = exp(-step_s / lag_s) if lag_s else 0.0
        follow_left = exp(-follow * step_s)
        # What the joint has gone of what the lagged setpoint was behind at the step's begin.
        apart = follow * step_s - (step_s / lag_s if lag_s else inf)
        gone = (lag_left - follow_left) / apart if abs(apart) > _ALIKE else lag_left
        passed = follow * step_s * gone
        lag_steps, follow_steps = lag_s / step_s, 1.0 / (follow * step_s)
        self._law = (
            lag_steps, lag_steps + follow_steps, lag_left, follow_left, passed, 1.0 / step_s,
        )  # fmt: skip
        self.place([0.0 for _ in self._joints])

    def place(self, position_rad: Sequence[float]) -> None:
        """At rest in a posture, and driven to stay there."""
        self._from, self._to, self._left = list(position_rad), list(position_rad), 0
        self._lagged = list(position_rad) if self._law[0] else self._from

    def write(self, setpoint_rad: Sequence[float]) -> None:
        """The ramp to this setpoint begins with the next step."""
        self._to, self._left = list(setpoint_rad), self._ramp_steps

    @property
    def settled(self) -> bool:
        """Whether the setpoint has been the same for so long that only the joints may lag it."""
        return not self._left and self._lagged == self._from

    def step(self, position_rad: Sequence[float]) -> list[float]:
        """Goes on by one step, at whose begin the joints are here (rad).

        Returns the mean velocity of each joint over it, rad/s. It is called in every step of
        physics: for so few joints indices take half of what a zip of lists takes.
        """
        left = self._left
        self._left = left - 1 if left else 0
        lag, both, lag_left, follow_left, passed, per_s = self._law
        ends, lagged, setpoint, most = self._from, self._lagged, self._to, self._fastest
        velocity = []
        for joint in self._joints:
            q, x, fastest = position_rad[joint], ends[joint], most[joint]
            ramp = (setpoint[joint] - x) / left if left else 0.0
            ends[joint] = end = x + ramp
            behind_both = ramp * both
            q_end = end - behind_both
            if lag:
                behind_lag = ramp * lag
                late = lagged[joint] - x + behind_lag
                lagged[joint] = end - behind_lag + late * lag_left
                q_end += late * passed
            q_end += (q - x + behind_both) * follow_left
            v = (q_end - q) * per_s
            velocity.append(v if -fastest < v < fastest else copysign(fastest, v))
        return velocity
