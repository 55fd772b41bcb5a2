"""Body × task × sensors, joined: one robot, or one after another in a cell that begins anew."""

from typing import TYPE_CHECKING

from tierloop.contract.body import Embodiment
from tierloop.contract.specs import FloatArray
from tierloop.sim import catalogue
from tierloop.sim.analytic_cell import AnalyticCell
from tierloop.sim.reality import NOMINAL, Reality
from tierloop.sim.scenario import Scenario, policy_spec

if TYPE_CHECKING:
    from tierloop.sim.cell import Cell


def embody(scenario: Scenario, seed: int, reality: Reality = NOMINAL) -> Embodiment:
    """One robot in a cell of its own, at home, with its perceive stage; loads what it needs.

    Same seed: same parts or goals, same scans, same motion.
    """
    return _embodiment(scenario, _cell(scenario, seed, reality))


class Stage:
    """One nominal robot after another; what it meets depends on its seed and posture alone."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario, self._cell = scenario, _cell(scenario, 0, NOMINAL)

    def begin(self, seed: int, posture_rad: FloatArray | None = None) -> Embodiment:
        """A robot at rest in a posture float32[joints]; the one before is gone.

        Without a posture it starts where its cell starts it.
        """
        self._cell.begin(seed, posture_rad)
        return _embodiment(self._scenario, self._cell)


def _cell(scenario: Scenario, seed: int, reality: Reality) -> "Cell | AnalyticCell":
    """The scenario's body and task, with physics if the body needs it."""
    if catalogue.body_module(scenario.body).ANALYTIC:
        return AnalyticCell(scenario, seed, reality)
    from tierloop.sim.cell import Cell

    return Cell(scenario, seed, reality)


def _embodiment(scenario: Scenario, cell: "Cell | AnalyticCell") -> Embodiment:
    spec = policy_spec(scenario)
    return Embodiment(cell, catalogue.task_module(scenario.task).perceiver(spec), spec)
