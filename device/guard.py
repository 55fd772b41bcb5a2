"""The guard keeps every setpoint within the body's limits, whatever the policy asks for."""

from enum import IntFlag
from math import copysign, isfinite, sqrt
from typing import NamedTuple

import numpy as np

from tierloop.contract.body import ToolPosition
from tierloop.contract.specs import BodySpec, Vector
from tierloop.device.workspace import Workspace


class Limit(IntFlag):
    """Which limits changed a setpoint."""

    NONE = 0
    MALFORMED = 1
    POSITION = 2
    VELOCITY = 4
    ACCELERATION = 8
    TORQUE = 16
    WORKSPACE = 32


_LIMITS = tuple(Limit(bits) for bits in range(64))
_POSITION, _VELOCITY, _ACCELERATION = (
    int(Limit.POSITION),
    int(Limit.VELOCITY),
    int(Limit.ACCELERATION),
)


class _Joint(NamedTuple):
    """The limits of one joint; `dv` (rad/s) is the largest change of its velocity in a tick."""

    low: float
    high: float
    velocity: float
    acceleration: float
    dv: float
    half_dv: float


class Guard:
    """Limits position, velocity, acceleration, torque and workspace of each setpoint.

    It remembers the last setpoint and its velocity and moves from there towards the wish, only so
    fast that it can still brake in time: before the wish, and before the end of the joint's range
    even if the wish moves. A joint whose measured torque is past its limit may not push further.
    A motion that could carry the tool out of the workspace before the body rests is braked
    (device/workspace.py). Limits come from the BodySpec. Arrays are float64[joints]; a setpoint
    has the switch as one more element.

    Plain floats: for a few joints they take a third of the time of arrays.
    """

    def __init__(self, spec: BodySpec, tool_position: ToolPosition, start: Vector) -> None:
        """`start` float64[joints + 1] is the setpoint in force."""
        self._dt_s = dt_s = spec.control_period_ns * 1e-9
        self._joints = [
            _Joint(low, high, velocity, acceleration, acceleration * dt_s, acceleration * dt_s / 2)
            for low, high, velocity, acceleration in zip(
                spec.position_low_rad,
                spec.position_high_rad,
                spec.velocity_rad_s,
                spec.acceleration_rad_s2,
                strict=True,
            )
        ]
        self._range = list(zip(spec.position_low_rad, spec.position_high_rad, strict=True))
        self._torque = spec.torque_nm
        self._shape = (len(spec.joints) + 1,)
        self.setpoint: Vector = start.copy()
        *self._last, self._switch = start.tolist()
        self._wish = self._last
        self._velocity = [0.0] * len(self._joints)
        self._workspace = Workspace(spec, tool_position, self._last)

    @property
    def moving(self) -> bool:
        """Whether the setpoint still moves."""
        return max(map(abs, self._velocity)) > 1e-6

    def limit(self, wish: Vector | None, position: Vector, torque: Vector) -> tuple[Vector, Limit]:
        """Returns the allowed setpoint nearest to `wish`, and the limits that changed it.

        `position` (rad) and `torque` (Nm) are measured. If there is no wish or a malformed one
        (shape, NaN, infinity), every joint brakes as hard as it may.
        """
        hit, dt_s, last, switch = 0, self._dt_s, self._last, self._switch
        asked = wish.tolist() if wish is not None and wish.shape == self._shape else None
        if wish is not None and (asked is None or not isfinite(sum(asked))):
            asked, hit = None, int(Limit.MALFORMED)
        if asked is None:
            velocity = self._brake()
            target = [at + speed * dt_s for at, speed in zip(last, velocity, strict=True)]
        else:
            *wanted, switch = asked
            velocity, target, bits = self._reach(wanted)
            hit |= bits
        if self._held_back(velocity, position, torque):
            hit |= int(Limit.TORQUE)
        joints = [at + speed * dt_s for at, speed in zip(last, velocity, strict=True)]
        if asked is not None and not self._workspace.keeps(joints, velocity):
            velocity = self._brake()
            joints = [at + speed * dt_s for at, speed in zip(last, velocity, strict=True)]
            hit |= int(Limit.WORKSPACE)
        self._velocity, self._wish = velocity, target
        self._last = [
            at if low <= at <= high else low if at < low else high
            for at, (low, high) in zip(joints, self._range, strict=True)
        ]
        self._switch = min(max(switch, 0.0), 1.0)
        self.setpoint = np.array([*self._last, self._switch])
        return self.setpoint, _LIMITS[hit]

    def _reach(self, wish: list[float]) -> tuple[list[float], list[float], int]:
        """Velocities towards a target that moves: as fast as may still brake onto it.

        To brake from v within s takes v^2 + v dv <= 2 a s in whole ticks, and up to dv^2 / 4 more
        if v is no multiple of dv; the root, which is what v may be at most, is taken only where
        that is broken. At the end of the range, which holds, it is exact.
        """
        hit, dt_s = 0, self._dt_s
        velocities, targets = [], []
        for joint, wished, last, before, speed in zip(
            self._joints, wish, self._last, self._wish, self._velocity, strict=True
        ):
            low, high, fastest, acceleration, dv, half_dv = joint
            target = wished
            if not low <= wished <= high:
                target = low if wished < low else high
                hit |= _POSITION
            gap = target - last
            pace = (target - before) / dt_s
            velocity = gap / dt_s
            beyond = abs(velocity - pace)
            brakeable = 2.0 * acceleration * abs(gap)
            if beyond * (beyond + dv) > brakeable:
                spare = sqrt(half_dv * half_dv + brakeable) - half_dv
                velocity = pace + spare if velocity > pace else pace - spare
            room = high - last if velocity > 0.0 else last - low
            fast = abs(velocity)
            if (fast + half_dv) ** 2 > 2.0 * acceleration * room:
                stoppable = _stoppable(room, dv, dt_s)
                if fast > stoppable:
                    velocity = -stoppable if velocity < 0.0 else stoppable
                    hit |= _POSITION
            if not -fastest <= velocity <= fastest:
                velocity = -fastest if velocity < 0.0 else fastest
                hit |= _VELOCITY
            least, most = speed - dv, speed + dv
            if not least <= velocity <= most:
                velocity = least if velocity < least else most
                hit |= _ACCELERATION
            velocities.append(velocity)
            targets.append(target)
        return velocities, targets, hit

    def _held_back(self, velocity: list[float], position: Vector, torque: Vector) -> bool:
        """Returns whether a joint is past its torque limit, and makes one that pushes on brake.

        What is measured as no number counts as past, and as pushing on.
        """
        limits = self._torque
        over = [i for i, nm in enumerate(torque.tolist()) if not abs(nm) <= limits[i]]
        if over:
            braking = self._brake()
            for i in over:
                if not velocity[i] * (self._last[i] - float(position[i])) <= 0:
                    velocity[i] = braking[i]
        return bool(over)

    def _brake(self) -> list[float]:
        return [
            copysign(max(abs(speed) - joint.dv, 0.0), speed)
            for speed, joint in zip(self._velocity, self._joints, strict=True)
        ]


def _stoppable(room: float, dv: float, dt_s: float) -> float:
    """The velocity from which a joint that loses `dv` each tick of `dt_s` stops within `room`.

    From v = n dv + r the ticks cover dt (n + 1) (v - n dv / 2): n full ones, then what is left.
    """
    if room <= 0.0:
        return 0.0
    n = (sqrt(1.0 + 8.0 * room / (dt_s * dv)) - 1.0) // 2.0
    return room / (dt_s * (n + 1.0)) + n * dv / 2.0
