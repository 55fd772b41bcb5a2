"""The stage: one body after another in a world that begins anew."""

from typing import TYPE_CHECKING

import numpy as np

from tierloop.contract.body import Embodiment
from tierloop.contract.specs import FloatArray
from tierloop.sim.bodies import plant
from tierloop.sim.scenario import Scenario, body_module, body_spec, perceiver, policy_spec

if TYPE_CHECKING:
    from tierloop.sim.cell import Cell


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
        drawn = body_module(self._scenario).start(rng)
        posture = drawn if posture_rad is None else posture_rad.astype(np.float64)
        self._cell.reset(int(rng.integers(2**31)), posture)
        return Embodiment(self._cell, perceiver(self._scenario), self._spec)
