"""A body that moves by a formula, and its task, joined without physics; sim/cell.py has physics."""

import numpy as np

from tierloop.contract.body import Body, Reading
from tierloop.contract.specs import FloatArray, Vector
from tierloop.sim import catalogue
from tierloop.sim.reality import NOMINAL, Reality
from tierloop.sim.scenario import Scenario, body_spec, policy_spec


class AnalyticCell:
    """A body that moves by a formula, and a task that is judged by what is read of it.

    Implements the contract `Body`. There is no physics, so nothing happens between two readings
    but the motion.
    """

    def __init__(self, scenario: Scenario, seed: int, reality: Reality = NOMINAL) -> None:
        self.spec, self._scenario, self._reality = body_spec(scenario), scenario, reality
        self.begin(seed)

    def begin(self, seed: int, posture_rad: FloatArray | None = None) -> None:
        """The cell of this seed from its start, the body at rest in a posture float32[joints].

        Without a posture it is at home.
        """
        scenario = self._scenario
        body, task = catalogue.body_module(scenario.body), catalogue.task_module(scenario.task)
        start = np.array(body.HOME_RAD) if posture_rad is None else posture_rad.astype(np.float64)
        self._body: Body = body.body(self.spec, start, self._reality)
        self._task = task.task(scenario, policy_spec(scenario), seed)

    def tool_position(self, position_rad: Vector) -> Vector:
        return self._body.tool_position(position_rad)

    def read(self, now_ns: int) -> Reading:
        reading = self._body.read(now_ns)
        scans, outcomes = self._task.after_read(reading)
        if scans or outcomes:
            return reading._replace(scans=scans, outcomes=outcomes)
        return reading

    def write(self, setpoint: Vector) -> None:
        self._body.write(setpoint)

    def hold(self) -> Vector:
        return self._body.hold()

    def close(self) -> None:
        self._body.close()
