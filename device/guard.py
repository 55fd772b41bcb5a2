"""The last thing before the body: no setpoint leaves its limits, whatever was asked for."""

from enum import IntFlag

import numpy as np

from contract.body import ToolPosition
from contract.specs import BodySpec, Vector, finite


class Limit(IntFlag):
    """What bit."""

    NONE = 0
    MALFORMED = 1
    POSITION = 2
    VELOCITY = 4
    ACCELERATION = 8
    TORQUE = 16
    WORKSPACE = 32


class Guard:
    """Turns a wish into a setpoint within position, velocity, acceleration, torque, workspace.

    It keeps the last setpoint and its velocity, and moves from there: towards the wish, no
    faster than may still brake in time. A joint whose measured torque is past its limit may
    not push on. A tool outside the workspace may only come back. Joint limits are those of
    the BodySpec; all arrays float64[joints], the setpoint has the switch behind them.
    """

    def __init__(self, spec: BodySpec, tool_position: ToolPosition, start: Vector) -> None:
        """`start` float64[joints + 1]: the setpoint in force."""
        self._dt_s = spec.control_period_ns * 1e-9
        self._low, self._high = np.array(spec.position_low_rad), np.array(spec.position_high_rad)
        self._velocity_max = np.array(spec.velocity_rad_s)
        self._acceleration = np.array(spec.acceleration_rad_s2)
        self._dv = self._acceleration * self._dt_s
        self._half_dv = self._dv / 2
        self._torque = np.array(spec.torque_nm)
        self._space_low = np.array(spec.workspace_low_m)
        self._space_high = np.array(spec.workspace_high_m)
        self._tool_position = tool_position
        self._size = len(spec.joints) + 1
        self.setpoint: Vector = start.copy()
        self._wish: Vector = start[:-1].copy()
        self._velocity: Vector = np.zeros(self._size - 1)
        self._outside_m = self._outside(start[:-1])

    @property
    def moving(self) -> bool:
        """Whether the setpoint itself is still on its way."""
        return bool(np.abs(self._velocity).max() > 1e-6)

    def limit(self, wish: Vector | None, position: Vector, torque: Vector) -> tuple[Vector, Limit]:
        """The setpoint nearest to `wish` that may be written now, and which limits bit.

        `position` and `torque` are what the joints measured. No wish, and a malformed one (shape,
        NaN, infinity), mean the standstill: every joint brakes as hard as it may.
        """
        hit = Limit.NONE
        if wish is not None and (wish.shape != (self._size,) or not finite(wish)):
            wish, hit = None, Limit.MALFORMED
        last = self.setpoint[:-1]
        if wish is None:
            velocity, switch = self._brake(), self.setpoint[-1]
            target = last + velocity * self._dt_s
        else:
            target, switch = np.minimum(np.maximum(wish[:-1], self._low), self._high), wish[-1]
            if (target != wish[:-1]).any():
                hit |= Limit.POSITION
            velocity, bits = self._reach(target, last)
            hit |= bits
        over = np.abs(torque) > self._torque
        if over.any():
            pushing = over & (velocity * (last - position) > 0)
            velocity = np.where(pushing, self._brake(), velocity)
            hit |= Limit.TORQUE
        joints = last + velocity * self._dt_s
        outside_m = self._outside(joints)
        if outside_m > 0 and outside_m >= self._outside_m:
            velocity = self._brake()
            joints = last + velocity * self._dt_s
            outside_m = self._outside(joints)
            hit |= Limit.WORKSPACE
        self._outside_m, self._velocity, self._wish = outside_m, velocity, target
        setpoint = np.empty(self._size)
        setpoint[:-1] = np.minimum(np.maximum(joints, self._low), self._high)
        setpoint[-1] = min(max(switch, 0.0), 1.0)
        self.setpoint = setpoint
        return setpoint, hit

    def _reach(self, target: Vector, last: Vector) -> tuple[Vector, Limit]:
        """Velocity towards a target that moves: as fast as may still brake onto it."""
        hit = Limit.NONE
        gap = target - last
        pace = (target - self._wish) / self._dt_s
        spare = np.sqrt(self._half_dv**2 + 2.0 * self._acceleration * np.abs(gap)) - self._half_dv
        wanted = np.minimum(np.maximum(gap / self._dt_s, pace - spare), pace + spare)
        velocity = np.minimum(np.maximum(wanted, -self._velocity_max), self._velocity_max)
        if (velocity != wanted).any():
            hit |= Limit.VELOCITY
        low, high = self._velocity - self._dv, self._velocity + self._dv
        reached = np.minimum(np.maximum(velocity, low), high)
        if (reached != velocity).any():
            hit |= Limit.ACCELERATION
        return reached, hit

    def _brake(self) -> Vector:
        return np.sign(self._velocity) * np.maximum(np.abs(self._velocity) - self._dv, 0.0)

    def _outside(self, joints: Vector) -> float:
        """How far the tool would be outside the workspace, metres; 0 inside."""
        tool = self._tool_position(joints)
        beyond = np.maximum(self._space_low - tool, tool - self._space_high)
        return float(max(beyond.max(), 0.0))
