"""A robot arm and its task in a physics world of their own, which the clock moves on."""

import numpy as np

from tierloop.contract.body import SWITCH_ON, Episode, Reading, Scan
from tierloop.contract.specs import FloatArray, Vector
from tierloop.sim import catalogue
from tierloop.sim.scenario import Scenario, body_spec
from tierloop.sim.tools.suction import Suction
from tierloop.sim.world import JointStates, World


class Cell:
    """Implements the contract `Body`.

    The first `read` is time zero. Each later one first runs all physics steps that are due since,
    however many they are: the world does not wait for a caller who is late. A reading carries the
    time of the last step, in nanoseconds of the caller's clock.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.spec = body_spec(scenario)
        self._step_ns = self.spec.physics_period_ns
        self._world = World(self._step_ns * 1e-9)
        body = catalogue.body_module(scenario.body)
        self._arm, self._tool_position = body.arm(self._world), body.tool_position
        self._start = body.start
        self._suction = Suction(self._world, self._arm.name, self._arm.hand)
        self._task = catalogue.task_module(scenario.task).task(self._world, self._suction, scenario)
        self._empty = self._world.checkpoint()
        self.reset(seed, np.array(body.HOME_RAD))

    def begin(self, seed: int, posture_rad: FloatArray | None = None) -> None:
        """Starts the cell anew with parts drawn from the seed, the arm at rest.

        The arm starts in `posture_rad` float32[joints]; if None, in a posture drawn from the seed.
        """
        rng = np.random.default_rng(seed)
        drawn = self._start(rng)
        start = drawn if posture_rad is None else posture_rad.astype(np.float64)
        self.reset(int(rng.integers(2**31)), start)

    def reset(self, seed: int, posture_rad: Vector) -> None:
        """Starts the cell of this seed anew, the arm at rest in `posture_rad` float64[joints].

        Nothing remains of what was before. Time zero is the next `read`.
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
        """Moves the world on to `now_ns`; returns the sensor values then, and all scans and judged
        episodes since the last reading."""
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
        """Runs all physics steps that are due by `now_ns`; returns the time of the last one, ns."""
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
        """What the joints measure, and the tool position float64[3] that follows, base frame, m."""
        joints = self._arm.sense()
        return joints, self._tool_position(joints.position)

    def write(self, setpoint: Vector) -> None:
        """Sets the target of the drives: float64[joints + 1], rad; the last entry is the suction
        switch, on above SWITCH_ON."""
        self._arm.drive(setpoint[:-1])
        self._switch = float(setpoint[-1])
        if self._switch <= SWITCH_ON:
            self._suction.let_go()

    def hold(self) -> Vector:
        """The setpoint float64[joints + 1] that keeps arm and switch as they are."""
        return np.append(self._arm.sense().position, self._switch)

    def close(self) -> None:
        """Ends the physics world."""
        self._world.close()
