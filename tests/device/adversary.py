"""An adversary of the guard: what it wishes, how it lies, and a judge that shares nothing with it.

The judge has its own kinematics: `postures` of the Panda goes from the base outwards in arrays,
where the arm's `tool_position` comes from the cup inwards in scalars; the plant's tool is where
its joints are.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tierloop.contract.body import ToolPosition
from tierloop.contract.specs import BodySpec, Vector
from tierloop.device.guard import Guard
from tierloop.sim.bodies import panda, plant

PERIOD_NS = 4_166_667
DT_S = PERIOD_NS * 1e-9
OUTSIDE_M = 0.005
"""How far outside the workspace the tool may get."""
ROUNDING = 1e-6


class Kind(NamedTuple):
    """A kind of body; `tools_m` takes postures float64[T, joints] to tools float64[T, 3]."""

    spec: BodySpec
    tool_position: ToolPosition
    tools_m: Callable[[np.ndarray], np.ndarray]
    home_rad: tuple[float, ...]


KINDS = {
    "panda": Kind(
        panda.body_spec(PERIOD_NS, PERIOD_NS),
        panda.tool_position,
        lambda q: panda.postures(q.T).tool_m.T,
        panda.HOME_RAD,
    ),
    "plant": Kind(
        plant.body_spec(PERIOD_NS, PERIOD_NS),
        lambda q: np.array([*q.tolist(), 0.0]),
        lambda q: np.column_stack((q, np.zeros(len(q)))),
        (0.0, 0.0),
    ),
}


def outside_m(kind: Kind, postures: np.ndarray) -> np.ndarray:
    """How far each tool is outside, float64[T]; below 0 inside."""
    tools = kind.tools_m(postures)
    low, high = kind.spec.workspace_low_m, kind.spec.workspace_high_m
    return np.maximum(np.max(low - tools, axis=1), np.max(tools - high, axis=1))


class Bout(NamedTuple):
    """What was asked, measured and written, tick by tick."""

    wished: list[Vector | None]
    measured: list[Vector]
    torque: list[Vector]
    written: list[Vector]


class Adversary:
    """Knows the guard's setpoint and the body's kinematics, and wants a limit broken."""

    def __init__(self, kind: Kind, seed: int) -> None:
        self.kind, self.rng = kind, np.random.default_rng(seed)
        self.low, self.high = (
            np.array(kind.spec.position_low_rad),
            np.array(kind.spec.position_high_rad),
        )
        self.n, self.fastest = len(self.low), np.array(kind.spec.velocity_rad_s)
        self.guard = self._guard(np.array(kind.home_rad))

    def _guard(self, posture: Vector) -> Guard:
        self.at, self.was = posture, posture
        return Guard(self.kind.spec, self.kind.tool_position, np.append(posture, 0.0))

    def start_anew(self) -> None:
        """At rest anywhere, which may be outside the workspace."""
        self.guard = self._guard(self.rng.uniform(self.low, self.high))

    def bout(self, ticks: int) -> Bout:
        """One way of wishing for a while, with or without lies about what is measured."""
        ways = (
            self._corner, self._jumps, self._bang_bang, self._outwards, self._creep, self._walk,
            self._wave, self._to_and_fro, self._malformed,
        )  # fmt: skip
        wishes = ways[self.rng.integers(len(ways))]()
        lies = self.rng.random() < 0.3
        gone = self.rng.random() < 0.3
        done = Bout([], [], [], [])
        for _ in range(ticks):
            wish = next(wishes)
            if gone and self.rng.random() < 0.1:
                wish = None
            position, torque = self._measured(lies)
            setpoint, _ = self.guard.limit(wish, position, torque)
            self.was, self.at = self.at, setpoint[:-1]
            for noted, value in zip(done, (wish, position, torque, setpoint), strict=True):
                noted.append(value)
        return done

    def _measured(self, lies: bool) -> tuple[Vector, Vector]:
        if not lies:
            return self.at, np.zeros(self.n)
        position = self.at + self.rng.normal(0.0, 0.01, self.n)
        torque = self.rng.normal(0.0, 0.6, self.n) * self.kind.spec.torque_nm
        if self.rng.random() < 0.02:
            (position if self.rng.random() < 0.5 else torque)[self.rng.integers(self.n)] = np.nan
        return position, torque

    def _anywhere(self) -> Vector:
        wide = 0.3 * (self.high - self.low)
        return np.append(self.rng.uniform(self.low - wide, self.high + wide), self.rng.normal())

    def _corner(self) -> Iterator[Vector]:
        corner = np.where(self.rng.random(self.n + 1) < 0.5, -9.0, 9.0)
        while True:
            yield corner

    def _jumps(self) -> Iterator[Vector]:
        while True:
            yield self._anywhere()

    def _bang_bang(self) -> Iterator[Vector]:
        one, other = self._anywhere(), self._anywhere()
        ticks = int(self.rng.integers(1, 60))
        while True:
            yield from [one] * ticks
            yield from [other] * ticks

    def _outwards_rad(self) -> Vector:
        """The direction in which the joints take the tool out of the workspace fastest."""
        step = 1e-4 * np.eye(self.n)
        near = outside_m(self.kind, np.vstack((self.at, self.at + step)))
        return (near[1:] - near[0]) / 1e-4

    def _outwards(self) -> Iterator[Vector]:
        """Always the nearest way out, as hard as it goes; now and then along the wall first."""
        while True:
            way = np.sign(self._outwards_rad()) + self.rng.normal(0.0, 0.3, self.n)
            for _ in range(int(self.rng.integers(1, 30))):
                yield np.append(self.at + way, 1.0)

    def _creep(self) -> Iterator[Vector]:
        """Slowly along the wall, leaning against it."""
        along = self.rng.normal(0.0, 1.0, self.n)
        pace = 10 ** self.rng.uniform(-5, -2)
        while True:
            out = self._outwards_rad()
            for _ in range(20):
                yield np.append(self.at + pace * (along + 2.0 * out), 0.5)

    def _walk(self) -> Iterator[Vector]:
        wish, pace = np.append(self.at, 0.0), 10 ** self.rng.uniform(-3, 0)
        while True:
            wish = wish + self.rng.normal(0.0, pace, self.n + 1)
            yield wish

    def _wave(self) -> Iterator[Vector]:
        middle, wide = self._anywhere(), self.rng.uniform(0.0, 2.0, self.n + 1)
        speed, phase = self.rng.uniform(0.5, 40.0), self.rng.uniform(0.0, 7.0, self.n + 1)
        tick = 0
        while True:
            tick += 1
            yield middle + wide * np.sin(speed * DT_S * tick + phase)

    def _to_and_fro(self) -> Iterator[Vector]:
        """Turns about whenever a joint has come to its greatest speed."""
        side = np.where(self.rng.random(self.n) < 0.5, -1.0, 1.0)
        while True:
            fast = (
                np.abs(self.at - self.was) / DT_S >= np.array(self.kind.spec.velocity_rad_s) - 1e-6
            )
            side = np.where(fast & (self.rng.random(self.n) < 0.2), -side, side)
            yield np.append(self.at + 3.0 * side, 0.0)

    def _malformed(self) -> Iterator[Vector]:
        while True:
            wish = self._anywhere()
            if self.rng.random() < 0.3:
                wish[self.rng.integers(self.n + 1)] = self.rng.choice(
                    [np.nan, np.inf, -np.inf, 1e308]
                )
            elif self.rng.random() < 0.2:
                wish = [wish[:-1], wish[:, np.newaxis], np.append(wish, 0.0)][self.rng.integers(3)]
            yield wish


class Judge:
    """Judges one life of a guard, bout by bout, by the body's spec alone."""

    def __init__(self, kind: Kind, start: Vector) -> None:
        """`start` float64[joints + 1]: at rest there."""
        spec = self._spec = kind.spec
        self._kind = kind
        self._low, self._high = np.array(spec.position_low_rad), np.array(spec.position_high_rad)
        self._fastest = np.array(spec.velocity_rad_s)
        self._change = np.array(spec.acceleration_rad_s2) * DT_S
        self._before = np.vstack((start, start))
        self._nearest_m = max(0.0, float(outside_m(kind, start[np.newaxis, :-1])[0]))
        self.ticks = 0
        self.worst: Counter[str] = Counter()
        """How far beyond each limit it got: rad, shares of the limit, metres."""
        self.broken: Counter[str] = Counter()
        """Ticks that broke a promise, by name."""

    def see(self, bout: Bout) -> None:
        path = np.vstack((self._before, bout.written))
        self._before = path[-2:]
        self.ticks += len(path) - 2
        speed = np.diff(path[:, :-1], axis=0) / DT_S
        self._limits(path[2:, :-1], speed[1:], np.diff(speed, axis=0))
        formed = np.array([_well_formed(wish, path.shape[1]) for wish in bout.wished])
        rest = np.maximum(np.abs(speed[:-1]) - self._change, 0.0)
        brakes = np.abs(speed[1:]) <= rest + ROUNDING
        over = ~(np.abs(bout.torque) <= np.array(self._spec.torque_nm))
        pushes = ~(speed[1:] * (path[1:-1, :-1] - bout.measured) <= 0.0)
        self._count("torque", over & pushes & ~brakes)
        self._count("hold", ~formed[:, np.newaxis] & ~brakes)
        told = path[1:-1, -1].copy()
        told[formed] = [wish[-1] for wish, ok in zip(bout.wished, formed, strict=True) if ok]
        self._count("switch", path[2:, -1:] != np.clip(told, 0.0, 1.0)[:, np.newaxis])

    def _limits(self, at: np.ndarray, speed: np.ndarray, change: np.ndarray) -> None:
        self._within("position", np.maximum(self._low - at, at - self._high))
        self._within("velocity", np.abs(speed) / self._fastest - 1.0)
        self._within("acceleration", np.abs(change) / self._change - 1.0)
        out = outside_m(self._kind, at)
        nearest = np.minimum.accumulate(np.append(self._nearest_m, np.maximum(out, 0.0)))
        self._nearest_m = nearest[-1]
        self._within("workspace", (out - nearest[:-1])[:, np.newaxis], OUTSIDE_M)

    def _within(self, name: str, beyond: np.ndarray, allowed: float = ROUNDING) -> None:
        self.worst[name] = max(self.worst[name], float(beyond.max()))
        self._count(name, ~(beyond <= allowed))

    def _count(self, name: str, ticks: np.ndarray) -> None:
        self.broken[name] += int(ticks.any(axis=1).sum())


def _well_formed(wish: Vector | None, size: int) -> bool:
    return wish is not None and wish.shape == (size,) and bool(np.isfinite(wish).all())
