"""What `tierloop calibrate` times on this machine: one callable a job and number of rows."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tierloop.calibrate.networks import answers, engines, networks, samples
from tierloop.calibrate.timing import TimedJob
from tierloop.contract.body import Effort, Embodiment, Reading
from tierloop.contract.messages import SegmentId
from tierloop.contract.specs import Vector
from tierloop.contract.version import __version__
from tierloop.device.config import DeviceConfig
from tierloop.device.unlinked import Unlinked
from tierloop.edge.outbox import Outbox, Parcel
from tierloop.edge.triage import Priority
from tierloop.policy.artefact import Artefact, pack, unpack
from tierloop.policy.engine import load, warm_up
from tierloop.sim.bodies.panda import HOME_RAD, tool_position
from tierloop.sim.scenario import Scenario, body_spec, policy_spec
from tierloop.sim.tasks.sort.perceive import SortPerceiver
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile

COMMITS = (1, 64)
PARCEL_BYTES = 2000
"""About a deflated segment of ten decisions."""
FIT_STEPS, FIT_SAMPLES = 10, 2048


def probes(artefact: Artefact, folder: Path) -> Iterator[TimedJob]:
    """Every job that can be done here; `folder` is where durable writes go."""
    usable = [e for e in engines() if artefact.onnx or e == "numpy"]
    for engine in usable:
        yield from answers(artefact, engine, 200)
    yield from networks(artefact, usable[0])
    blob = pack(artefact)
    yield TimedJob("install", 1, "", lambda: warm_up(load(unpack(blob), usable[0])), 8)
    outbox = Outbox(folder / "outbox.sqlite", 10**9)
    for rows in COMMITS:
        yield TimedJob("commit", rows, "", _Commit(outbox, rows), 8)
    tick = _Period()
    yield TimedJob("tick", tick.ticks, "", tick, 20)
    if find_spec("torch"):
        fit = _Fit()
        yield TimedJob("fit", fit.rows, "", fit, 2)
    if find_spec("pybullet"):
        twin = _Twin()
        yield TimedJob("twin", twin.rows, "", twin, 1)


class _Commit:
    """One durable transaction of `rows` new segments."""

    def __init__(self, outbox: Outbox, rows: int) -> None:
        self._outbox, self._rows, self._next = outbox, rows, 0

    def __call__(self) -> None:
        numbers = range(self._next, self._next + self._rows)
        self._next += self._rows
        body = bytes(PARCEL_BYTES)
        name = f"rows-{self._rows}"
        self._outbox.commit(
            [Parcel(SegmentId(name, 0, n), n, Priority.ROUTINE, body) for n in numbers]
        )


class _Still:
    """A body at rest, without physics: the control loop is timed, not the world."""

    def __init__(self) -> None:
        self.spec = body_spec(Scenario())
        self._home = np.array(HOME_RAD)

    def tool_position(self, position_rad: Vector) -> Vector:
        return tool_position(position_rad)

    def read(self, now_ns: int) -> Reading:
        return Reading(
            captured_ns=now_ns, position_rad=self._home, velocity_rad_s=0.0 * self._home,
            torque_nm=0.0 * self._home, tool_m=tool_position(self._home), switch=0.0,
            holding=False, scans=(), outcomes=(), effort=Effort.none(len(self._home)),
        )  # fmt: skip

    def write(self, setpoint: Vector) -> None: ...

    def hold(self) -> Vector:
        return np.append(self._home, 0.0)

    def close(self) -> None: ...


class _Period:
    """The ticks of one decision period: one of them decides, and an answer comes."""

    def __init__(self) -> None:
        spec, body = policy_spec(Scenario()), _Still()
        robot = Embodiment(body, SortPerceiver(spec.observation), spec)
        self._device = Unlinked("host", 0, robot, DeviceConfig(), __version__)
        self._rows = np.tile(body.hold().astype(np.float32), (spec.horizon, 1))
        self._now_ns, self._tick_ns = 0, body.spec.control_period_ns
        self.ticks = round(spec.period_ns / self._tick_ns)

    def __call__(self) -> None:
        for _ in range(self.ticks):
            self._now_ns += self._tick_ns
            asked = self._device.tick(self._now_ns)
            if asked is not None:
                self._device.answer(self._now_ns, asked, self._rows)


class _Fit:
    """A short fit on samples that the teacher labelled."""

    def __init__(self) -> None:
        from tierloop.cloud.config import LearnerConfig
        from tierloop.cloud.learner import Learner
        from tierloop.sim.catalogue import expert

        config = LearnerConfig(steps_per_round=FIT_STEPS)
        spec = policy_spec(Scenario())
        self.rows = FIT_STEPS * config.batch_size
        self._features = samples(spec, FIT_SAMPLES)
        self._labels = expert(spec)(self._features)
        self._learner = Learner(spec, config, 0)

    def __call__(self) -> None:
        self._learner.fit(self._features, self._labels)


class _Twin:
    """One episode of the teacher in the twin; `rows` are its decisions."""

    def __init__(self) -> None:
        from tierloop.sim.catalogue import expert
        from tierloop.stack.twin import twin_of

        deployment = resolve(DeploymentFile(name="calibrate"))
        self._twin = twin_of(deployment, "calibrate")()
        self._label = expert(policy_spec(deployment.scenario))
        self.rows = self._episode()

    def __call__(self) -> None:
        self._episode()

    def _episode(self) -> int:
        return len(self._twin.live(0, self._label, 0).captured_ns)
