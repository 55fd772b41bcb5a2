"""Judges whether the tool stays in the workspace if the body has to brake from here."""

from math import dist, hypot, inf, isfinite, sqrt
from typing import NamedTuple

import numpy as np

from tierloop.contract.body import ToolPosition
from tierloop.contract.specs import BodySpec

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
    """The most that a radian moves the tool; half of what the joint brakes by; its way to rest from
    1 rad/s; by how much it slows down in half a tick."""

    reach_m: float
    half_brake: float
    braking_rad: float
    half_dv: float


class _Look(NamedTuple):
    """Where the tool was found to be: `room_m` from the nearest wall, below 0 outside.

    `left_s` is the time from there to rest.
    """

    posture: list[float]
    room_m: float
    left_s: float = 0.0


class _Way(NamedTuple):
    """From a posture to rest, every joint braking; all along it at least `room_m` is left."""

    posture: list[float]
    rest: list[float]
    room_m: float


class Workspace:
    """Judges a posture and a velocity by the path of the tool while every joint brakes.

    A joint moves the tool no further than its reach times its angle. So, once a way to rest was
    looked at, no other is until its ends have moved by the room that was left. Looked at are
    both ends, and near a wall postures in between: between two of them the tool is at least as
    far inside as their rooms leave when the joints' travel is taken off. A tool that starts
    outside may come back, and never strays by more than SLACK_M from there.
    """

    def __init__(self, spec: BodySpec, tool_position: ToolPosition, start: list[float]) -> None:
        """`start` float[joints]: the posture at rest from which it moves on."""
        dt_s = spec.control_period_ns * 1e-9
        self._tool_position = tool_position
        self._low_m, self._high_m = spec.workspace_low_m, spec.workspace_high_m
        self._joints = [
            _Joint(reach_m, most / 2, 0.5 / most, most * dt_s / 2)
            for reach_m, most in zip(
                _reaches_m(spec, tool_position), spec.acceleration_rad_s2, strict=True
            )
        ]
        self._way = _Way(start, start, self._look(start).room_m)
        self._refused: tuple[list[float], list[float]] | None = None
        outside_m = min(self._way.room_m, 0.0)
        self._floor_m = (outside_m if isfinite(outside_m) else 0.0) - SLACK_M

    def keeps(self, posture: list[float], velocity: list[float]) -> bool:
        """Whether the tool stays inside if the joints (rad, rad/s, float[joints]) move on so.

        In whole ticks a joint at speed v covers what one that slows down evenly covers from
        v - dv / 2; it may end up to dv dt / 8 before that.
        """
        was, rested, room_m = self._way
        rest: list[float] = []
        for at, speed, seen, end, (reach_m, _, braking_rad, half_dv) in zip(
            posture, velocity, was, rested, self._joints, strict=True
        ):
            to = at
            if speed > half_dv:
                to += (speed - half_dv) ** 2 * braking_rad
            elif speed < -half_dv:
                to -= (speed + half_dv) ** 2 * braking_rad
            rest.append(to)
            moved, other = abs(at - seen), abs(to - end)
            room_m -= reach_m * (moved if moved > other else other)
        if room_m >= self._floor_m == -SLACK_M:
            return True
        if (posture, rest) == self._refused:
            return False
        return self._looked(posture, rest)

    def _looked(self, posture: list[float], rest: list[float]) -> bool:
        """Looks at a way to rest, and keeps it in mind: taken or refused.

        After one was refused, the next that is taken must do without looks in between, so that
        the body does not tremble at a wall.
        """
        brakes = zip(posture, rest, self._joints, strict=True)
        left_s = sqrt(max([abs(to - at) / joint.half_brake for at, to, joint in brakes]))
        here = self._look(posture, left_s)
        room_m, floor_m = here.room_m, max(self._floor_m, min(here.room_m, 0.0) - SLACK_M)
        if left_s > 0.0 and room_m >= floor_m:
            way, halvings = (posture, rest), HALVINGS if self._refused is None else 0
            room_m = self._least_m(way, here, self._look(rest), floor_m, halvings)
        if room_m < floor_m:
            self._refused = posture, rest
            return False
        self._way, self._refused = _Way(posture, rest, room_m), None
        self._floor_m = floor_m
        return True

    def _least_m(
        self,
        way: tuple[list[float], list[float]],
        a: _Look,
        b: _Look,
        floor_m: float,
        halvings: int,
    ) -> float:
        """The room that is left at least between two looks at the way; no closer than it takes to
        tell whether that is `floor_m`."""
        travel_m = 0.0
        for at, to, joint in zip(a.posture, b.posture, self._joints, strict=True):
            travel_m += joint.reach_m * abs(to - at)
        least_m = (a.room_m + b.room_m - travel_m) / 2
        if least_m >= floor_m or b.room_m < floor_m or halvings == 0:
            return least_m
        left_s = hypot(a.left_s, b.left_s) / sqrt(2.0)
        middle = self._look(self._braked(*way, left_s), left_s)
        later_m = self._least_m(way, middle, b, floor_m, halvings - 1)
        if later_m < floor_m:
            return later_m
        return min(later_m, self._least_m(way, a, middle, floor_m, halvings - 1))

    def _braked(self, posture: list[float], rest: list[float], left_s: float) -> list[float]:
        """Where the joints are so long before the last of them rests."""
        squared = left_s * left_s
        return [
            max(at, to - joint.half_brake * squared)
            if to > at
            else min(at, to + joint.half_brake * squared)
            for at, to, joint in zip(posture, rest, self._joints, strict=True)
        ]

    def _look(self, posture: list[float], left_s: float = 0.0) -> _Look:
        x, y, z = self._tool_position(np.array(posture)).tolist()
        (x0, y0, z0), (x1, y1, z1) = self._low_m, self._high_m
        room_m = min(x - x0, x1 - x, y - y0, y1 - y, z - z0, z1 - z)
        return _Look(posture, room_m if isfinite(x + y + z) else -inf, left_s)


def _reaches_m(spec: BodySpec, tool_position: ToolPosition) -> list[float]:
    """How far one radian of each joint moves the tool at most, in metres, over many postures."""
    low, high = np.array(spec.position_low_rad), np.array(spec.position_high_rad)
    longest = [0.0] * len(low)
    for posture in np.random.default_rng(0).uniform(low, high, (POSTURES, len(low))):
        at = tool_position(posture).tolist()
        for i, reach_m in enumerate(longest):
            there = posture.copy()
            there[i] += _STEP_RAD
            longest[i] = max(reach_m, dist(at, tool_position(there).tolist()) / _STEP_RAD)
    return [MARGIN * reach_m for reach_m in longest]
