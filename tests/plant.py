"""The analytic plant for tests: it notes what was written, and its goal does not move."""

import numpy as np

from tierloop.contract.body import Embodiment, Reading
from tierloop.contract.specs import Vector
from tierloop.sim.bodies import plant
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.sim.tasks import reach

SCENARIO = Scenario(task="reach", body="plant")
PERIOD_NS = 4_166_667
SPEC = plant.body_spec(PERIOD_NS, PERIOD_NS)
POLICY = policy_spec(SCENARIO)


class Plant(plant.Plant):
    """Its task is the test: outcomes are put in by the test, and come with the next reading."""

    def __init__(self) -> None:
        super().__init__(SPEC, np.array(plant.HOME_RAD))
        self.outcomes: tuple = ()
        self.writes: list[Vector] = []

    def read(self, now_ns: int) -> Reading:
        outcomes, self.outcomes = self.outcomes, ()
        return super().read(now_ns)._replace(outcomes=outcomes)

    def write(self, setpoint: Vector) -> None:
        super().write(setpoint)
        self.writes.append(setpoint.copy())


class Goal(reach.Goal):
    """The goal is known from the start."""

    def __init__(self) -> None:
        super().__init__(POLICY.observation)
        self._goal = (0.5, -0.5)

    def update(self, reading: Reading) -> None:
        pass


def embodiment() -> Embodiment:
    return Embodiment(body=Plant(), perceiver=Goal(), policy=POLICY)
