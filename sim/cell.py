"""A robot arm and its task in a physics world of their own, which the clock moves on."""

import numpy as np

from tierloop.contract.body import SWITCH_ON, Episode, Reading, Scan
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.poses import PlacedObject
from tierloop.contract.specs import FloatArray, Vector
from tierloop.sim import catalogue
from tierloop.sim.exertion import Exertion
from tierloop.sim.reality import NOMINAL, Reality
from tierloop.sim.scenario import Scenario, body_spec
from tierloop.sim.tools.suction import Suction
from tierloop.sim.world import World


class Cell:
    """Implements the contract `Body`, and `InScene` for those who draw it.

    The first `read` is time zero. Each later one first runs all physics steps that are due since,
    however many they are: the world does not wait for a caller who is late. A reading carries the
    time of the last step, in nanoseconds of the caller's clock.
    """

    def __init__(self, scenario: Scenario, seed: int, reality: Reality = NOMINAL) -> None:
        self.spec = body_spec(scenario)
        self._step_ns = self.spec.physics_period_ns
        self._world = World(self._step_ns * 1e-9)
        body = catalogue.body_module(scenario.body)
        self._arm = body.arm(self._world, self.spec, reality)
        self._tool_position = body.tool_position
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
        self._joints = self._arm.sense()
        self._lip_m: Vector | None = None
        self._exertion = Exertion(len(posture_rad), self._step_ns / NS_PER_S)
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
        joints = self._joints
        scans, outcomes = tuple(self._scans), tuple(self._outcomes)
        self._scans, self._outcomes = [], []
        return Reading(
            captured_ns=captured_ns,
            position_rad=np.array(joints.position),
            velocity_rad_s=np.array(joints.velocity),
            torque_nm=np.array(joints.torque),
            tool_m=self._lip(),
            switch=self._switch,
            holding=self._suction.holding != "",
            scans=scans,
            outcomes=outcomes,
            effort=self._exertion.take(),
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
        before = self._joints
        self._task.before_step(now_ns)
        self._arm.before_step(before.position)
        self._world.step()
        self._joints, self._lip_m = self._arm.sense(), None
        self._exertion.add(self._joints.torque, before.velocity, self._joints.velocity)
        if self._switch > SWITCH_ON:
            self._suction.pull(tuple(self._lip().tolist()), self._task.graspable())
        scans, outcomes = self._task.after_step(now_ns)
        self._scans += scans
        self._outcomes += outcomes

    def _lip(self) -> Vector:
        """Where the tool is now, float64[3], base frame, m."""
        if self._lip_m is None:
            self._lip_m = self._tool_position(np.array(self._joints.position))
        return self._lip_m

    def objects(self) -> list[PlacedObject]:
        """What moves about the arm, where it is now."""
        placed: list[PlacedObject] = self._task.objects()
        return placed

    def write(self, setpoint: Vector) -> None:
        """Sets the target of the drives: float64[joints + 1], rad; the last entry is the suction
        switch, on above SWITCH_ON."""
        self._arm.drive(setpoint[:-1])
        self._switch = float(setpoint[-1])
        if self._switch <= SWITCH_ON:
            self._suction.let_go()

    def hold(self) -> Vector:
        """The setpoint float64[joints + 1] that keeps arm and switch as they are."""
        return np.append(self._joints.position, self._switch)

    def close(self) -> None:
        """Ends the physics world."""
        self._world.close()
