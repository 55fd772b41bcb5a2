"""The sort task as a Gymnasium environment: one episode a part, one step a decision.

`gymnasium.make("tierloop.sim.env:tierloop/SortPanda-v0")` makes one. The physics is loaded then.
"""

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import register

from tierloop.contract.body import Perceiver, Reading
from tierloop.contract.specs import FloatArray, Vector
from tierloop.sim import catalogue
from tierloop.sim.scenario import Scenario, policy_spec

register(id="tierloop/SortPanda-v0", entry_point="tierloop.sim.env:SortEnv")


class SortEnv(gym.Env[FloatArray, FloatArray]):
    """Body × task, without a link in between: what a policy sees if it answers at once.

    Observation and action are those of `policy_spec(scenario)`. An action is one row (joint
    setpoints, then the switch): the joints move straight to it within one decision period, none
    faster than its limit; the switch takes its value at once. An episode ends when its part is
    judged; the reward is 1 if it was sorted. `info` then has `success` and `reason`.
    The arm starts at rest in a posture drawn from the seed; same seed, same episode, to the bit.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, scenario: Scenario | None = None) -> None:
        from tierloop.sim.cell import Cell

        scenario = scenario or Scenario()
        self._scenario = scenario
        self.spec_of_policy = spec = policy_spec(scenario)
        self.observation_space = _box(spec.observation.low, spec.observation.high)
        self.action_space = _box(spec.action.low, spec.action.high)
        self._cell = Cell(scenario, 0)
        body = self._cell.spec
        self._tick_ns = body.control_period_ns
        self._ticks = scenario.control_hz // scenario.decision_hz
        self._reach_rad = np.array(body.velocity_rad_s) * self._ticks * self._tick_ns * 1e-9
        self._low, self._high = np.array(spec.action.low), np.array(spec.action.high)
        self._shares = np.linspace(0.0, 1.0, self._ticks + 1)[1:, np.newaxis]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Starts an episode: a part comes onto the belt. Returns the observation and an empty dict.

        Without a seed, draws the next episode from the generator of the last seed.
        """
        super().reset(seed=seed, options=options)
        self._now_ns = 0
        posture = catalogue.body_module(self._scenario.body).start(self.np_random)
        self._cell.reset(int(self.np_random.integers(2**31)), posture)
        task = catalogue.task_module(self._scenario.task)
        self._perceiver: Perceiver = task.perceiver(self.spec_of_policy)
        self._setpoint = self._cell.hold()
        return self._observe(self._cell.read(self._now_ns)), {}

    def step(
        self, action: FloatArray
    ) -> tuple[FloatArray, SupportsFloat, bool, bool, dict[str, Any]]:
        """Acts on `action` float32[A] for one decision period."""
        for setpoint in self._way(action):
            self._cell.write(setpoint)
            self._now_ns += self._tick_ns
            self._cell.advance(self._now_ns)
        reading = self._cell.read(self._now_ns)
        observation = self._observe(reading)
        judged = next((episode for episode in reading.outcomes if episode.number == 1), None)
        if judged is None:
            return observation, 0.0, False, False, {}
        info = {"success": judged.success, "reason": judged.reason}
        return observation, float(judged.success), True, False, info

    def close(self) -> None:
        """Ends the world."""
        self._cell.close()

    def _way(self, action: FloatArray) -> Vector:
        """The setpoints of one decision period, float64[ticks, A]."""
        row = np.clip(action, self._low, self._high)
        way = np.clip(row[:-1] - self._setpoint[:-1], -self._reach_rad, self._reach_rad)
        setpoints: Vector = np.empty((self._ticks, len(row)))
        setpoints[:, :-1] = self._setpoint[:-1] + self._shares * way
        setpoints[:, -1] = row[-1]
        self._setpoint = setpoints[-1]
        return setpoints

    def _observe(self, reading: Reading) -> FloatArray:
        self._perceiver.update(reading)
        return self._perceiver.features(reading)


def _box(low: tuple[float, ...], high: tuple[float, ...]) -> gym.Space[FloatArray]:
    box: gym.Space[FloatArray] = gym.spaces.Box(
        np.array(low, np.float32), np.array(high, np.float32), dtype=np.float32
    )
    return box
