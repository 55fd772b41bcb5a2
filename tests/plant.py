"""A two-joint body as light as can be: each joint follows its setpoint with a first-order lag."""

import numpy as np

from contract.body import Embodiment, Reading
from contract.clock import NS_PER_MS
from contract.specs import ArraySpec, BodySpec, FloatArray, PolicySpec, Vector

PERIOD_NS = 4_166_667
LAG_S = 0.02

SPEC = BodySpec(
    name="plant",
    joints=("a", "b"),
    control_period_ns=PERIOD_NS,
    physics_period_ns=PERIOD_NS,
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
POLICY = PolicySpec(
    task="reach",
    body="plant",
    observation=ArraySpec(
        name="observation",
        labels=("a_rad", "b_rad", "goal_a", "goal_b"),
        low=(-2.0,) * 4,
        high=(2.0,) * 4,
    ),
    action=ArraySpec(
        name="action",
        labels=("a_rad", "b_rad", "switch"),
        low=(-2.0, -2.0, 0.0),
        high=(2.0, 2.0, 1.0),
    ),
    horizon=8,
    period_ns=50 * NS_PER_MS,
)


class Plant:
    """Follows its setpoint exponentially: exact for any step, so it never drifts."""

    spec = SPEC

    def __init__(self) -> None:
        self._position = np.zeros(2)
        self._velocity = np.zeros(2)
        self._setpoint = np.zeros(3)
        self._at_ns: int | None = None
        self.outcomes: tuple = ()
        self.writes: list[Vector] = []

    def tool_position(self, position_rad: Vector) -> Vector:
        return np.array([position_rad[0], position_rad[1], 0.0])

    def read(self, now_ns: int) -> Reading:
        elapsed_s = 0.0 if self._at_ns is None else (now_ns - self._at_ns) / 1e9
        self._at_ns = now_ns
        gap = (self._position - self._setpoint[:-1]) * np.exp(-elapsed_s / LAG_S)
        self._position = self._setpoint[:-1] + gap
        self._velocity = -gap / LAG_S
        outcomes, self.outcomes = self.outcomes, ()
        return Reading(
            captured_ns=now_ns,
            position_rad=self._position.copy(),
            velocity_rad_s=self._velocity.copy(),
            torque_nm=-gap,
            tool_m=self.tool_position(self._position),
            switch=float(self._setpoint[-1]),
            holding=False,
            scans=(),
            outcomes=outcomes,
        )

    def write(self, setpoint: Vector) -> None:
        self._setpoint = setpoint.copy()
        self.writes.append(self._setpoint)

    def hold(self) -> Vector:
        return np.append(self._position, self._setpoint[-1])

    def close(self) -> None:
        self._setpoint[:-1] = self._position


class Goal:
    """A perceive stage whose goal does not move."""

    def update(self, reading: Reading) -> None:
        pass

    def features(self, reading: Reading) -> FloatArray:
        return np.array([*reading.position_rad, 0.5, -0.5], np.float32)


def embodiment() -> Embodiment:
    return Embodiment(body=Plant(), perceiver=Goal(), policy=POLICY)
