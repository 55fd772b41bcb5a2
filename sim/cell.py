"""A simulated body: arm × task in a world of their own, moved on by the clock."""

import numpy as np

from tierloop.contract.body import SWITCH_ON, Episode, Reading, Scan
from tierloop.contract.specs import FloatArray, Vector
from tierloop.sim import catalogue
from tierloop.sim.scenario import Scenario, body_spec
from tierloop.sim.tools.suction import Suction
from tierloop.sim.world import JointStates, World


class Cell:
    """Implements the contract `Body`.

    The first `read` is time zero. Each later one first takes every whole physics step that has
    come due since, however many: a world is never slowed down for a caller who was late. A
    reading is stamped with the instant of the last step, in the caller's clock.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.spec = body_spec(scenario)
        self._step_ns = self.spec.physics_period_ns
        self._world = World(self._step_ns * 1e-9)
        body = catalogue.body(scenario.body)
        self._arm, self._tool_position = body.arm(self._world), body.tool_position
        self._start = body.start
        self._suction = Suction(self._world, self._arm.name, self._arm.hand)
        self._task = catalogue.task(scenario.task).task(self._world, self._suction, scenario)
        self._empty = self._world.checkpoint()
        self.reset(seed, np.array(body.HOME_RAD))

    def begin(self, seed: int, posture_rad: FloatArray | None = None) -> None:
        """A cell drawn from the seed, the arm at rest in a posture float32[joints].

        Without a posture that is drawn, too.
        """
        rng = np.random.default_rng(seed)
        drawn = self._start(rng)
        start = drawn if posture_rad is None else posture_rad.astype(np.float64)
        self.reset(int(rng.integers(2**31)), start)

    def reset(self, seed: int, posture_rad: Vector) -> None:
        """The cell of this seed from its start, the arm at rest in a posture float64[joints].

        Nothing of what was before is left; time starts anew with the next `read`.
        """
        self._task.clear()
        self._world.rewind(self._empty)
        self._arm.place(posture_rad)
        self._seed = seed
        self._zero_ns: int | None = None
        self._steps = 0
        self._felt: tuple[JointStates, Vector] | None = None
        self._switch = 0.0
        self._scans: list[Scan] = []
        self._outcomes: list[Episode] = []

    def tool_position(self, position_rad: Vector) -> Vector:
        """Forward kinematics, float64[joints] to float64[3] in the base frame."""
        tool_m: Vector = self._tool_position(position_rad)
        return tool_m

    def read(self, now_ns: int) -> Reading:
        """The sensors at `now_ns`, and what came since the last reading."""
        captured_ns = self.advance(now_ns)
        joints, tool_m = self._felt or self._feel()
        scans, outcomes = tuple(self._scans), tuple(self._outcomes)
        self._scans, self._outcomes = [], []
        return Reading(
            captured_ns=captured_ns,
            position_rad=joints.position,
            velocity_rad_s=joints.velocity,
            torque_nm=joints.torque,
            tool_m=tool_m,
            switch=self._switch,
            holding=self._suction.holding != "",
            scans=scans,
            outcomes=outcomes,
        )

    def advance(self, now_ns: int) -> int:
        """Moves the world on to `now_ns`; returns the instant of its last step."""
        if self._zero_ns is None:
            self._zero_ns = now_ns
            self._task.start(self._seed, now_ns)
        due = (now_ns - self._zero_ns) // self._step_ns
        while self._steps < due:
            self._steps += 1
            self._step(self._zero_ns + self._steps * self._step_ns)
        return self._zero_ns + self._steps * self._step_ns

    def _step(self, now_ns: int) -> None:
        self._task.before_step()
        self._world.step()
        self._felt = None
        if self._switch > SWITCH_ON:
            self._felt = self._feel()
            self._suction.pull(tuple(self._felt[1].tolist()), self._task.graspable())
        scans, outcomes = self._task.after_step(now_ns)
        self._scans += scans
        self._outcomes += outcomes

    def _feel(self) -> tuple[JointStates, Vector]:
        """What the joints measure, and where that puts the tool."""
        joints = self._arm.sense()
        return joints, self._tool_position(joints.position)

    def write(self, setpoint: Vector) -> None:
        """Hands the drives float64[joints + 1]; the last entry is the suction switch."""
        self._arm.drive(setpoint[:-1])
        self._switch = float(setpoint[-1])
        if self._switch <= SWITCH_ON:
            self._suction.let_go()

    def hold(self) -> Vector:
        """The setpoint that keeps the arm where it is, and the cup as it is."""
        return np.append(self._arm.sense().position, self._switch)

    def close(self) -> None:
        """Ends the world."""
        self._world.close()
