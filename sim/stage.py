"""The stage: one body after another in a world that begins anew, each from its seed."""

from typing import TYPE_CHECKING

import numpy as np

from contract.body import Embodiment
from sim.scenario import Scenario, body_module, embody, perceiver, policy_spec

if TYPE_CHECKING:
    from sim.cell import Cell


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
        posture = body_module(self._scenario).start(rng)
        self._cell.reset(int(rng.integers(2**31)), posture)
        return Embodiment(self._cell, perceiver(self._scenario), self._spec)

    def close(self) -> None:
        """Ends the world."""
        if self._cell is not None:
            self._cell.close()
