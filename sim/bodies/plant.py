"""The analytic plant: a two-joint body as light as can be, and reaching as its task.

Each joint follows its setpoint with a first-order lag, exactly for any step, so that no physics
library is needed and a run of hours takes seconds. A goal appears, is scanned now and then, and
is reached in time or is not; then the next one appears.
"""

from math import exp
from typing import TYPE_CHECKING

import numpy as np

from tierloop.contract.body import Embodiment, Episode, Reading, Scan
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.specs import ArraySpec, BodySpec, FloatArray, PolicySpec, Vector

if TYPE_CHECKING:
    from tierloop.sim.scenario import Scenario

JOINTS = ("a", "b")
LAG_S = 0.02
WORK_LOW_RAD, WORK_HIGH_RAD = (-1.5, -1.5), (1.5, 1.5)
"""Where goals appear, and what a policy may ask for."""
REACHED_RAD = 0.05
"""A goal is reached when both joints are this near to it."""
STEP_SHARE = 0.35
"""The share of what is left to the goal that the expert covers in one decision period."""


def body_spec(control_period_ns: int, physics_period_ns: int) -> BodySpec:
    """Limits and power model, all assumed. The tool is where the joints are: (a, b, 0) metres."""
    return BodySpec(
        name="plant",
        joints=JOINTS,
        control_period_ns=control_period_ns,
        physics_period_ns=physics_period_ns,
        position_low_rad=(-2.0, -2.0),
        position_high_rad=(2.0, 2.0),
        velocity_rad_s=(3.0, 3.0),
        acceleration_rad_s2=(20.0, 20.0),
        torque_nm=(10.0, 10.0),
        workspace_low_m=(-1.8, -1.8, -1.0),
        workspace_high_m=(1.8, 1.8, 1.0),
        copper_w_per_nm2=(0.1, 0.1),
        viscous_w_s2=(0.1, 0.1),
        coulomb_w_s=(0.1, 0.1),
        switch_w=2.0,
        sensors_w=1.0,
    )


def observation_spec(body: BodySpec) -> ArraySpec:
    """Where the joints are, and where they should be."""
    return ArraySpec(
        name="observation",
        labels=(*(f"{joint}_rad" for joint in body.joints), "goal_a_rad", "goal_b_rad"),
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


class Plant:
    """Implements the contract `Body`; time is that of `Cell`: the first read is zero."""

    def __init__(
        self,
        scenario: "Scenario",
        spec: BodySpec,
        seed: int,
        posture_rad: FloatArray | None = None,
    ) -> None:
        """At rest in a posture float32[2]; at home without one."""
        self.spec = spec
        self._seed = seed
        self._scan_ns = round(NS_PER_S / scenario.scan_hz)
        self._noise_m, self._dropout = scenario.scan_noise_m, scenario.scan_dropout
        self._episode_ns = round(scenario.episode_s * NS_PER_S)
        self._rng = np.random.default_rng([seed, 1])
        self._velocity = self._torque_nm = [0.0, 0.0]
        self._position = [0.0, 0.0] if posture_rad is None else posture_rad.tolist()
        self._setpoint = [*self._position, 0.0]
        self._zero_ns: int | None = None
        self._at_ns = 0
        self._number = 0
        self._goal, self._since_ns = self._next_goal(), 0
        self._scanned_ns = 0

    def tool_position(self, position_rad: Vector) -> Vector:
        return np.array([*position_rad.tolist(), 0.0])

    def read(self, now_ns: int) -> Reading:
        captured_ns = self._advance(now_ns)
        return Reading(
            captured_ns=captured_ns,
            position_rad=np.array(self._position),
            velocity_rad_s=np.array(self._velocity),
            torque_nm=np.array(self._torque_nm),
            tool_m=np.array([*self._position, 0.0]),
            switch=self._setpoint[-1],
            holding=False,
            scans=self._scan(captured_ns),
            outcomes=self._judge(captured_ns),
        )

    def write(self, setpoint: Vector) -> None:
        self._setpoint = setpoint.tolist()

    def hold(self) -> Vector:
        return np.array([*self._position, self._setpoint[-1]])

    def close(self) -> None:
        self._setpoint = [*self._position, self._setpoint[-1]]

    def _advance(self, now_ns: int) -> int:
        """Moves on to the last physics step at or before `now_ns`; returns its instant."""
        if self._zero_ns is None:
            self._zero_ns = self._at_ns = self._since_ns = self._scanned_ns = now_ns
        step_ns = self.spec.physics_period_ns
        at_ns = self._zero_ns + (now_ns - self._zero_ns) // step_ns * step_ns
        left = exp((self._at_ns - at_ns) / 1e9 / LAG_S)
        (a, b), (to_a, to_b, _) = self._position, self._setpoint
        gap_a, gap_b = (a - to_a) * left, (b - to_b) * left
        self._position = [to_a + gap_a, to_b + gap_b]
        self._velocity = [-gap_a / LAG_S, -gap_b / LAG_S]
        self._torque_nm = [-gap_a, -gap_b]
        self._at_ns = at_ns
        return at_ns

    def _next_goal(self) -> tuple[float, float]:
        rng = np.random.default_rng([self._seed, 0, self._number])
        a, b = rng.uniform(WORK_LOW_RAD, WORK_HIGH_RAD).tolist()
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

    def _judge(self, now_ns: int) -> tuple[Episode, ...]:
        (a, b), (goal_a, goal_b) = self._position, self._goal
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


def perceiver(spec: PolicySpec) -> Goal:
    """The task's perceive stage."""
    return Goal(spec.observation)


def embody(
    scenario: "Scenario",
    spec: PolicySpec,
    body: BodySpec,
    seed: int,
    posture_rad: FloatArray | None = None,
) -> Embodiment:
    """One plant with goals of its own. Same seed: same goals, same scans."""
    return Embodiment(Plant(scenario, body, seed, posture_rad), perceiver(spec), spec)


def shares(horizon: int) -> Vector:
    """What the expert has covered of the way to a goal after each row, float64[horizon]."""
    covered: Vector = 1.0 - (1.0 - STEP_SHARE) ** np.arange(1, horizon + 1, dtype=np.float64)
    return covered


def label(spec: PolicySpec, features: FloatArray) -> FloatArray:
    """The expert's answers: float32[N, D] features to float32[N, H, A] setpoints."""
    rows = np.zeros((len(features), spec.horizon, spec.action.size))
    joints, goal = features[:, np.newaxis, :2], features[:, np.newaxis, 2:]
    rows[:, :, :2] = joints + shares(spec.horizon)[:, np.newaxis] * (goal - joints)
    labels: FloatArray = np.clip(rows, spec.action.low, spec.action.high).astype(np.float32)
    return labels
