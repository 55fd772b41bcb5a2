"""The stage: one body after another in a world that begins anew, each from its seed."""

from typing import TYPE_CHECKING

import numpy as np

from contract.body import Embodiment
from contract.specs import Vector
from sim.bodies.panda import HOME_RAD, postures
from sim.scenario import Scenario, embody, perceiver, policy_spec

if TYPE_CHECKING:
    from sim.cell import Cell

_STARTS_LOW_M, _STARTS_HIGH_M = (0.36, -0.28, 0.17), (0.70, 0.28, 0.34)
"""Where the tool may be when an episode starts: over the belt, the bins or in between."""
_SPREAD_RAD = (0.5, 0.4, 0.3, 0.4, 0.2, 0.3, 0.3)


class Stage:
    """What a body does on it depends on its seed alone, not on who was there before."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario, self._spec = scenario, policy_spec(scenario)
        self._cell: Cell | None = None

    def begin(self, seed: int) -> Embodiment:
        """A robot at rest, an arm in a posture drawn from the seed; the one before is gone."""
        if self._scenario.body == "plant":
            return embody(self._scenario, seed)
        if self._cell is None:
            from sim.cell import Cell

            self._cell = Cell(self._scenario, 0)
        rng = np.random.default_rng(seed)
        posture = start(rng)
        self._cell.reset(int(rng.integers(2**31)), posture)
        return Embodiment(self._cell, perceiver(self._scenario), self._spec)

    def close(self) -> None:
        """Ends the world."""
        if self._cell is not None:
            self._cell.close()


def start(rng: np.random.Generator) -> Vector:
    """A posture, float64[joints], with the tool in the working space."""
    while True:
        posture = np.array(HOME_RAD) + rng.uniform(-1.0, 1.0, 7) * _SPREAD_RAD
        tool = postures(posture[:, np.newaxis]).tool_m[:, 0]
        if (tool > _STARTS_LOW_M).all() and (tool < _STARTS_HIGH_M).all():
            return posture
