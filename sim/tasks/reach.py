"""The reach task: a goal appears for two joints, is scanned now and then, and is reached or not."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tierloop.contract.body import Episode, Reading, Scan
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.specs import ArraySpec, BodySpec, FloatArray, PolicySpec, Vector

if TYPE_CHECKING:
    from tierloop.sim.scenario import Scenario

REACHED_RAD = 0.05
"""A goal is reached when both joints are this near to it."""
STEP_SHARE = 0.35
"""The share of what is left to the goal that the expert covers in one decision period."""


def observation_spec(body: BodySpec) -> ArraySpec:
    """Where the joints are, and where they should be."""
    joints = tuple(f"{joint}_rad" for joint in body.joints)
    return ArraySpec(
        name="observation",
        labels=(*joints, *(f"goal_{joint}" for joint in joints)),
        low=body.position_low_rad * 2,
        high=body.position_high_rad * 2,
    )


def action_spec(
    body: BodySpec, low_rad: tuple[float, ...], high_rad: tuple[float, ...]
) -> ArraySpec:
    """One setpoint a joint, then a switch that does nothing."""
    return ArraySpec(
        name="action",
        labels=(*(f"{joint}_rad" for joint in body.joints), "switch"),
        low=(*low_rad, 0.0),
        high=(*high_rad, 1.0),
    )


def perceiver(spec: PolicySpec) -> "Goal":
    """The task's perceive stage."""
    return Goal(spec.observation)


def task(scenario: "Scenario", spec: PolicySpec, seed: int) -> "Reach":
    """The task for a body that moves by a formula."""
    return Reach(scenario, spec, seed)


class Reach:
    """Goals where a policy may ask the joints to be, and the judge of each; a goal is an episode.

    Its time begins with the first reading. What goal n is like depends on the seed and n alone.
    """

    def __init__(self, scenario: "Scenario", spec: PolicySpec, seed: int) -> None:
        self._low_rad, self._high_rad = spec.action.low[:-1], spec.action.high[:-1]
        self._scan_ns = round(NS_PER_S / scenario.scan_hz)
        self._noise_m, self._dropout = scenario.scan_noise_m, scenario.scan_dropout
        self._episode_ns = round(scenario.episode_s * NS_PER_S)
        self._seed, self._rng = seed, np.random.default_rng([seed, 1])
        self._number = 0
        self._goal = self._next_goal()
        self._begun = False
        self._since_ns = self._scanned_ns = 0

    def after_read(self, reading: Reading) -> tuple[tuple[Scan, ...], tuple[Episode, ...]]:
        """What the scanner sees at a reading's capture time, and the goal if it is judged then."""
        now_ns = reading.captured_ns
        if not self._begun:
            self._begun, self._since_ns, self._scanned_ns = True, now_ns, now_ns
        return self._scan(now_ns), self._judge(reading)

    def _next_goal(self) -> tuple[float, float]:
        rng = np.random.default_rng([self._seed, 0, self._number])
        a, b = rng.uniform(self._low_rad, self._high_rad).tolist()
        return a, b

    def _scan(self, now_ns: int) -> tuple[Scan, ...]:
        if now_ns < self._scanned_ns:
            return ()
        self._scanned_ns += ((now_ns - self._scanned_ns) // self._scan_ns + 1) * self._scan_ns
        if self._rng.random() < self._dropout:
            return ()
        off_a, off_b = (self._noise_m * self._rng.standard_normal(2)).tolist()
        a, b = self._goal[0] + off_a, self._goal[1] + off_b
        return (Scan(now_ns, self._number, (a, b, 0.0), 0, 0.0),)

    def _judge(self, reading: Reading) -> tuple[Episode, ...]:
        now_ns = reading.captured_ns
        (a, b), (goal_a, goal_b) = reading.position_rad.tolist(), self._goal
        reached = abs(a - goal_a) < REACHED_RAD and abs(b - goal_b) < REACHED_RAD
        if not reached and now_ns - self._since_ns < self._episode_ns:
            return ()
        reason = "reached" if reached else "late"
        judged = Episode(self._number, reached, reason, self._since_ns, now_ns)
        self._number += 1
        self._goal, self._since_ns = self._next_goal(), now_ns
        return (judged,)


class Goal:
    """The perceive stage: the joints, and the goal as last scanned; before that, home."""

    def __init__(self, spec: ArraySpec) -> None:
        self._low, self._high = np.array(spec.low, np.float32), np.array(spec.high, np.float32)
        self._goal = (0.0, 0.0)

    def update(self, reading: Reading) -> None:
        for scan in reading.scans:
            self._goal = scan.position_m[:2]

    def features(self, reading: Reading) -> FloatArray:
        features = np.array([*reading.position_rad, *self._goal], np.float32)
        return np.minimum(np.maximum(features, self._low), self._high)


def shares(horizon: int) -> Vector:
    """What the expert has covered of the way to a goal after each row, float64[horizon]."""
    covered: Vector = 1.0 - (1.0 - STEP_SHARE) ** np.arange(1, horizon + 1, dtype=np.float64)
    return covered


def expert(spec: PolicySpec) -> Callable[[FloatArray], FloatArray]:
    """The expert for the plant: float32[N, D] features to float32[N, H, A] setpoints."""
    return partial(label, spec)


def label(spec: PolicySpec, features: FloatArray) -> FloatArray:
    """The expert's answers: float32[N, D] features to float32[N, H, A] setpoints."""
    rows = np.zeros((len(features), spec.horizon, spec.action.size))
    joints, goal = features[:, np.newaxis, :2], features[:, np.newaxis, 2:]
    rows[:, :, :2] = joints + shares(spec.horizon)[:, np.newaxis] * (goal - joints)
    labels: FloatArray = np.clip(rows, spec.action.low, spec.action.high).astype(np.float32)
    return labels
