"""Body × task × sensors, joined: one robot, or one after another in a world that begins anew."""

from typing import TYPE_CHECKING

import numpy as np

from tierloop.contract.body import Embodiment, Perceiver
from tierloop.contract.specs import FloatArray
from tierloop.sim import catalogue
from tierloop.sim.bodies import plant
from tierloop.sim.scenario import Scenario, body_spec, policy_spec

if TYPE_CHECKING:
    from tierloop.sim.cell import Cell


def embody(scenario: Scenario, seed: int) -> Embodiment:
    """One robot in a cell of its own, with its perceive stage; loads the simulator it needs.

    Same seed: same parts, same scans, same physics.
    """
    spec = policy_spec(scenario)
    if scenario.body == "plant":
        return plant.embody(scenario, spec, body_spec(scenario), seed)
    from tierloop.sim.cell import Cell

    return Embodiment(Cell(scenario, seed), perceiver(scenario), spec)


def perceiver(scenario: Scenario) -> Perceiver:
    """A perceive stage of the task, which has seen nothing yet."""
    made: Perceiver = catalogue.task(scenario.task).perceiver(policy_spec(scenario))
    return made


class Stage:
    """What a body does on it depends on its seed and posture alone, not on who was there before."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario, self._spec = scenario, policy_spec(scenario)
        self._cell: Cell | None = None

    def begin(self, seed: int, posture_rad: FloatArray | None = None) -> Embodiment:
        """A robot at rest in a posture float32[joints]; the one before is gone.

        Without a posture an arm's is drawn from the seed, and the plant is at home.
        """
        if self._scenario.body == "plant":
            body = body_spec(self._scenario)
            return plant.embody(self._scenario, self._spec, body, seed, posture_rad)
        if self._cell is None:
            from tierloop.sim.cell import Cell

            self._cell = Cell(self._scenario, 0)
        rng = np.random.default_rng(seed)
        drawn = catalogue.body(self._scenario.body).start(rng)
        posture = drawn if posture_rad is None else posture_rad.astype(np.float64)
        self._cell.reset(int(rng.integers(2**31)), posture)
        return Embodiment(self._cell, perceiver(self._scenario), self._spec)
