"""Whether the tool stays in the workspace, wherever the body may be stopped from now on."""

from math import dist, hypot, inf, isfinite, sqrt
from typing import NamedTuple

import numpy as np

from contract.body import ToolPosition
from contract.specs import BodySpec

SLACK_M = 0.003
"""How far outside the tool may pass where more looks would be needed to tell."""
HALVINGS = 2
"""How often the way to rest is halved, at most, to look closer."""
POSTURES = 128
"""Postures at which the reach of the joints is found out."""
MARGIN = 1.5
"""A joint's reach is taken for so many times the longest found."""
_STEP_RAD = 1e-4


class _Joint(NamedTuple):
    """The most that a radian moves the tool, and how the joint brakes; `way_m` is how far it
    moves the tool while it brakes from 1 rad/s."""

    reach_m: float
    acceleration: float
    half_dv: float
    way_m: float


class _Look(NamedTuple):
    """Where the tool was found to be: `room_m` from the nearest wall, below 0 outside.

    `left_s` is the time from there to rest.
    """

    posture: list[float]
    room_m: float
    left_s: float = 0.0


class Workspace:
    """Judges a posture and a velocity by where the tool passes if every joint brakes from there.

    A joint moves the tool no further than its reach times its angle. So a tool that was seen with
    room around it needs no second look until the joints may have used the room up. Near
    a wall there are more looks: here, at rest and on the way. Between two of them the tool is at
    least as far inside as their rooms leave when the joints' travel is taken off. A
    tool that starts outside may come back, and never strays by more than SLACK_M from there.
    """

    def __init__(self, spec: BodySpec, tool_position: ToolPosition, start: list[float]) -> None:
        """`start` float[joints]: the posture at rest from which it moves on."""
        dt_s = spec.control_period_ns * 1e-9
        self._tool_position = tool_position
        self._space = list(zip(spec.workspace_low_m, spec.workspace_high_m, strict=True))
        self._joints = [
            _Joint(reach_m, most, most * dt_s / 2, reach_m / most / 2)
            for reach_m, most in zip(
                _reaches_m(spec, tool_position), spec.acceleration_rad_s2, strict=True
            )
        ]
        self._seen = self._look(start)
        outside_m = min(self._seen.room_m, 0.0)
        self._floor_m = (outside_m if isfinite(outside_m) else 0.0) - SLACK_M

    def keeps(self, posture: list[float], velocity: list[float]) -> bool:
        """Whether the tool stays inside if the joints, float[joints], move on from here."""
        seen, moved_m, braking_m = self._seen, 0.0, 0.0
        for at, was, speed, joint in zip(
            posture, seen.posture, velocity, self._joints, strict=True
        ):
            reach_m, _, half_dv, way_m = joint
            moved_m += reach_m * abs(at - was)
            fast = abs(speed) - half_dv
            if fast > 0.0:
                braking_m += way_m * fast * fast
        least_m = seen.room_m - moved_m - braking_m
        if least_m < 0.0:
            self._seen = here = self._look(posture)
            least_m = here.room_m - braking_m
            if least_m < self._floor_m <= here.room_m:
                way = _Way(posture, velocity, self._joints)
                start = here._replace(left_s=way.left_s)
                least_m = self._least_m(way, start, self._look(way.at(0.0)), HALVINGS)
        if not least_m >= self._floor_m:
            return False
        if self._floor_m < -SLACK_M:
            self._floor_m = max(self._floor_m, min(least_m, 0.0) - SLACK_M)
        return True

    def _least_m(self, way: "_Way", a: _Look, b: _Look, halvings: int) -> float:
        """The room that is left at least between two looks at the way."""
        travel_m = 0.0
        for at, to, joint in zip(a.posture, b.posture, self._joints, strict=True):
            travel_m += joint.reach_m * abs(to - at)
        least_m = (a.room_m + b.room_m - travel_m) / 2
        if least_m >= self._floor_m or b.room_m < self._floor_m or halvings == 0:
            return least_m
        left_s = hypot(a.left_s, b.left_s) / sqrt(2.0)
        middle = self._look(way.at(left_s), left_s)
        later_m = self._least_m(way, middle, b, halvings - 1)
        if later_m < self._floor_m:
            return later_m
        return min(later_m, self._least_m(way, a, middle, halvings - 1))

    def _look(self, posture: list[float], left_s: float = 0.0) -> _Look:
        tool_m = self._tool_position(np.array(posture)).tolist()
        if not isfinite(sum(tool_m)):
            return _Look(posture, -inf, left_s)
        room_m = inf
        for at, (low, high) in zip(tool_m, self._space, strict=True):
            room_m = min(room_m, at - low, high - at)
        return _Look(posture, room_m, left_s)


class _Way:
    """How the joints come to rest, each braking as hard as it may.

    In whole ticks a joint at speed v covers what one that slows down evenly covers from v - dv / 2;
    the last tick may end up to dv dt / 8 before that.
    """

    def __init__(self, posture: list[float], velocity: list[float], joints: list[_Joint]) -> None:
        self._joints = [
            (at, speed < 0.0, max(abs(speed) - joint.half_dv, 0.0), joint.acceleration)
            for at, speed, joint in zip(posture, velocity, joints, strict=True)
        ]
        self.left_s = max(fast / acceleration for _, _, fast, acceleration in self._joints)

    def at(self, left_s: float) -> list[float]:
        """Where the joints are so long before the last of them rests."""
        posture, since_s = [], self.left_s - left_s
        for at, backwards, fast, acceleration in self._joints:
            braked_s = min(since_s, fast / acceleration)
            moved = (fast - acceleration * braked_s / 2) * braked_s
            posture.append(at - moved if backwards else at + moved)
        return posture


def _reaches_m(spec: BodySpec, tool_position: ToolPosition) -> list[float]:
    """How far one radian of each joint moves the tool at most, metres, tried in many postures."""
    low, high = np.array(spec.position_low_rad), np.array(spec.position_high_rad)
    longest = [0.0] * len(low)
    for posture in np.random.default_rng(0).uniform(low, high, (POSTURES, len(low))):
        at = tool_position(posture).tolist()
        for i, reach_m in enumerate(longest):
            there = posture.copy()
            there[i] += _STEP_RAD
            longest[i] = max(reach_m, dist(at, tool_position(there).tolist()) / _STEP_RAD)
    return [MARGIN * reach_m for reach_m in longest]
