"""The sorting scene in a physics world: belt, bins, arriving parts, and the judge of each part."""

from dataclasses import dataclass
from math import hypot, pi, sin
from typing import TYPE_CHECKING

import numpy as np

from tierloop.contract.body import Episode
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.poses import PlacedObject, SceneObject
from tierloop.sim.tasks.sort import layout as lay
from tierloop.sim.tools.suction import Graspable, Suction

if TYPE_CHECKING:
    from tierloop.sim.scenario import Scenario
    from tierloop.sim.world import Triple, World

LIFTED_M = 0.03
"""A part this far above the belt has been picked, and the next one may come."""
REST_M_S = 0.05
LOOSE_NS = 400 * NS_PER_MS
"""A part let go this long ago that rests outside the bins has been dropped."""
LOST_NS = 2500 * NS_PER_MS
"""A part let go this long ago has been dropped, wherever it rolls."""
LEAD_S = (1.0, 1.8)
"""How long a part travels before it may be picked."""


@dataclass
class BeltPart:
    """One part, an episode. `loose_ns`: when the cup let go of it after lifting; 0 before."""

    number: int
    name: str
    kind: int
    height_m: float
    started_ns: int
    lifted: bool = False
    loose_ns: int = 0


class Scene:
    """Belt, bins and parts. At most one part travels; the next comes when it is picked or judged.

    A part is an episode. What part n is like depends on the seed and n alone.
    """

    def __init__(self, world: "World", suction: Suction, scenario: "Scenario") -> None:
        self._world, self._suction = world, suction
        self._speeds = scenario.belt_low_m_s, scenario.belt_high_m_s
        self._swing, self._swing_ns = scenario.belt_swing, scenario.belt_swing_s * NS_PER_S
        self._limit_ns = round(scenario.episode_s * NS_PER_S)
        self._seed = self._number = self._start_ns = 0
        self._belt_speed_m_s = 0.0
        self.parts: list[BeltPart] = []
        self._solids: dict[str, SceneObject] = {}
        world.add_box("belt", lay.BELT_HALF_M, _BELT_AT, friction=_BELT_FRICTION)
        world.add_box("floor", (1.0, 1.0, 0.01), (0.4, 0.0, -0.01), friction=0.8)
        for n, (x, y) in enumerate(lay.BINS_M):
            for side, (dx, dy) in enumerate(((1, 0), (-1, 0), (0, 1), (0, -1))):
                reach = lay.BIN_HALF_M + _WALL_M
                half = (
                    _WALL_M if dx else lay.BIN_HALF_M,
                    _WALL_M if dy else lay.BIN_HALF_M,
                    lay.BIN_RIM_M / 2,
                )
                at = (x + dx * reach, y + dy * reach, lay.BIN_RIM_M / 2)
                world.add_box(f"bin {n} wall {side}", half, at)

    def clear(self) -> None:
        """Removes all parts."""
        for part in self.parts:
            self._remove(part)
        self.parts = []

    def start(self, seed: int, now_ns: int) -> None:
        """Brings the first part of this seed."""
        self._seed, self._number, self._start_ns = seed, 0, now_ns
        self._spawn(now_ns)

    def travelling(self) -> BeltPart | None:
        """The part on the belt that has not been picked yet, or None."""
        return next((part for part in self.parts if not part.lifted), None)

    def graspable(self) -> list[Graspable]:
        """All parts that the cup may take, with the middle of each top."""
        found = []
        for part in self.parts:
            x, y, z = self._world.position(part.name)
            found.append(Graspable(part.name, (x, y, z + part.height_m / 2)))
        return found

    def objects(self) -> list[PlacedObject]:
        """All parts, where they are now."""
        return [PlacedObject(self._solids[p.name], *self._world.pose(p.name)) for p in self.parts]

    def before_step(self, now_ns: int) -> None:
        """Moves the belt: put back at every step, it drags by friction what lies on it."""
        phase = 2 * pi * (now_ns - self._start_ns) / self._swing_ns
        speed = self._belt_speed_m_s * (1 + self._swing * sin(phase))
        self._world.carry("belt", _BELT_AT, (0.0, speed, 0.0))

    def after_step(self, now_ns: int) -> list[Episode]:
        """Call after each physics step. Returns the parts judged now, as episodes; brings the next
        part once none is on its way."""
        judged = []
        for part in tuple(self.parts):
            verdict = self._judge(part, now_ns)
            if verdict is not None:
                self._remove(part)
                self.parts.remove(part)
                success = verdict == "sorted"
                judged.append(Episode(part.number, success, verdict, part.started_ns, now_ns))
        if self.travelling() is None:
            self._spawn(now_ns)
        return judged

    def _judge(self, part: BeltPart, now_ns: int) -> str | None:
        """What became of a part, or None while it is open."""
        at = self._world.position(part.name)
        if self._suction.holding == part.name:
            part.loose_ns = 0
            part.lifted |= at[2] - part.height_m / 2 > lay.BELT_TOP_M + LIFTED_M
        elif part.lifted:
            part.loose_ns = part.loose_ns or now_ns
            verdict = self._judge_loose(part, at, now_ns - part.loose_ns)
            if verdict is not None:
                return verdict
        elif at[1] > lay.BELT_END_M:
            return "passed the end of the belt"
        elif at[2] < lay.BELT_TOP_M:
            return "knocked off the belt"
        return "timed out" if now_ns - part.started_ns > self._limit_ns else None

    def _judge_loose(self, part: BeltPart, at: "Triple", loose_ns: int) -> str | None:
        resting = hypot(*self._world.velocity(part.name)) < REST_M_S
        inside = _bin_at(at)
        if inside is not None and resting:
            return "sorted" if inside == part.kind else "wrong bin"
        if loose_ns > LOST_NS or (resting and inside is None and loose_ns > LOOSE_NS):
            return "dropped"
        return None

    def _spawn(self, now_ns: int) -> None:
        number = self._number = self._number + 1
        rng = np.random.default_rng((self._seed, number))
        speed = rng.uniform(*self._speeds)
        kind = int(rng.integers(len(lay.KINDS)))
        name = f"part {number}"
        height = self._add(name, kind, rng, lay.SCAN_END_M - speed * rng.uniform(*LEAD_S))
        self._belt_speed_m_s = speed
        self.parts.append(BeltPart(number, name, kind, height, now_ns))

    def _add(self, name: str, kind: int, rng: np.random.Generator, y_m: float) -> float:
        """Puts a part on the belt; returns its height."""
        mass, friction = rng.uniform(0.04, 0.20), rng.uniform(0.5, 1.0)
        x_m = lay.BELT_X_M + rng.uniform(-0.03, 0.03)
        height = rng.uniform(*_HEIGHTS_M[kind])
        at = (x_m, y_m, lay.BELT_TOP_M + height / 2)
        size: tuple[float, ...]
        if lay.KINDS[kind] == "box":
            size = half = (rng.uniform(0.018, 0.026), rng.uniform(0.018, 0.026), height / 2)
            self._world.add_box(name, half, at, mass, friction)
        else:
            low, high = (0.018, 0.024) if lay.KINDS[kind] == "cylinder" else (0.026, 0.034)
            size = radius, _ = (rng.uniform(low, high), height)
            self._world.add_cylinder(name, radius, height, at, mass, friction)
        shape = "box" if lay.KINDS[kind] == "box" else "cylinder"
        self._solids[name] = SceneObject(name=name, kind=lay.KINDS[kind], shape=shape, size_m=size)
        return float(height)

    def _remove(self, part: BeltPart) -> None:
        if self._suction.holding == part.name:
            self._suction.let_go()
        self._world.remove(part.name)
        del self._solids[part.name]


_BELT_FRICTION = 0.3
_WALL_M = 0.005
_BELT_AT = (lay.BELT_X_M, lay.BELT_Y_M, lay.BELT_TOP_M - lay.BELT_HALF_M[2])
_HEIGHTS_M = ((0.03, 0.05), (0.035, lay.HEIGHT_MAX_M), (0.02, 0.03))


def _bin_at(at_m: "Triple") -> int | None:
    """The number of the bin that a point is in, or None."""
    if at_m[2] < lay.BIN_RIM_M:
        for n, (x, y) in enumerate(lay.BINS_M):
            if abs(at_m[0] - x) < lay.BIN_HALF_M and abs(at_m[1] - y) < lay.BIN_HALF_M:
                return n
    return None
