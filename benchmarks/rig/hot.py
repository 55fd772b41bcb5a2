"""The hot paths, each as a unit of work that one thread does: what `bench` and `compare` time.

It stands on the tiers alone, for hot_worker.py runs it by path. A path that comes to do other work
gets another name: `compare` holds paths of one name for the same work.
"""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tierloop.contract import messages as m
from tierloop.contract.body import Effort, Embodiment, Reading
from tierloop.contract.codec import Codec, digest64
from tierloop.contract.effects import Compute, Send, Timer
from tierloop.contract.specs import FloatArray, PolicySpec, Vector
from tierloop.sim.scenario import Scenario, body_spec, policy_spec

Work = Callable[[], object]

HIDDEN = (256, 256)
"""Of the policy in every benchmark: 32 inputs, two layers of 256, eight setpoints of eight."""

SEAM_RAD = 0.01
"""From one answer to the next: a fade between them lasts 73 ms, so that one is always under way."""


def policy() -> PolicySpec:
    """The sorting cell's."""
    return policy_spec(Scenario())


def observation(spec: PolicySpec, seq: int, device: str = "arm-0") -> m.Observation:
    """One that stands still."""
    features = np.zeros(spec.observation.size, np.float32)
    return m.Observation(device=device, boot=1, seq=seq, captured_ns=seq, features=features)


def chunk(spec: PolicySpec, answered: m.Observation, at_rad: float = 0.0) -> m.ActionChunk:
    """What an edge would send back: stay at `at_rad` with every joint."""
    rows = np.full((spec.horizon, spec.action.size), at_rad, np.float32)
    return m.ActionChunk.answering(answered, spec, rows, 0)


def experience(spec: PolicySpec) -> m.Segment:
    """What a device sends up about ten decisions."""
    rng, n = np.random.default_rng(0), 10
    features = rng.normal(size=(n, spec.observation.size)).astype(np.float32)
    applied = rng.normal(size=(n, spec.action.size)).astype(np.float32)
    stamps = np.arange(n, dtype=np.int64) * spec.period_ns
    return m.Segment(
        device="arm-0", boot=1, seq=7, body="panda", software="benchmark", spec=spec.digest,
        captured_ns=stamps, features=features, applied=applied, age_ns=stamps,
        versions=np.zeros(n, np.int64), seam_rad=0.01, refused={"expired": 1},
        outcomes=(),
    )  # fmt: skip


def codec() -> Work:
    """An observation and its chunk, each encoded and decoded."""
    packer, there = Codec(), observation(policy(), 1)
    back = chunk(policy(), there)

    def work() -> None:
        packer.decode(packer.encode(there))
        packer.decode(packer.encode(back))

    return work


def segment() -> Work:
    """A segment's way into bytes and out of them, with its digest."""
    packer, there = Codec(), experience(policy())

    def work() -> None:
        body = packer.encode(there)
        digest64(body)
        packer.decode(body)

    return work


class Still:
    """A body that stands where it is; reading and writing cost next to nothing."""

    def __init__(self) -> None:
        self.spec = body_spec(Scenario())
        n = len(self.spec.joints)
        middle = np.add(self.spec.position_low_rad, self.spec.position_high_rad) / 2
        self._reading = Reading(
            captured_ns=0, position_rad=middle, velocity_rad_s=np.zeros(n), torque_nm=np.zeros(n),
            tool_m=np.zeros(3), switch=0.0, holding=False, scans=(), outcomes=(),
            effort=Effort.none(n),
        )  # fmt: skip

    def tool_position(self, position_rad: Vector) -> Vector:
        return position_rad[:3]

    def read(self, now_ns: int) -> Reading:
        return self._reading._replace(captured_ns=now_ns)

    def write(self, setpoint: Vector) -> None:
        pass

    def hold(self) -> Vector:
        return np.append(self._reading.position_rad, 0.0)

    def close(self) -> None:
        pass


class Blind:
    """A perceive stage that sees nothing."""

    def __init__(self, size: int) -> None:
        self._features = np.zeros(size, np.float32)

    def update(self, _reading: Reading) -> None:
        pass

    def features(self, _reading: Reading) -> FloatArray:
        return self._features


def fading_tick() -> Work:
    """A control tick of a device whose edge answers every observation; its body costs nothing.

    Every answer is SEAM_RAD from the one before.
    """
    from tierloop.device.config import DeviceConfig
    from tierloop.device.unlinked import Unlinked

    spec, body = policy(), Still()
    robot = Embodiment(body, Blind(spec.observation.size), spec)
    device = Unlinked("arm-0", 1, robot, DeviceConfig(), "benchmark")
    rows = [np.full((spec.horizon, spec.action.size), at, np.float32) for at in (0.0, SEAM_RAD)]
    now_ns, period_ns = 0, body.spec.control_period_ns

    def work() -> None:
        nonlocal now_ns
        now_ns += period_ns
        asked = device.tick(now_ns)
        if asked is not None:
            device.answer(now_ns, asked, rows[asked.seq % 2])
            device.node.report(now_ns)

    return work


def fading_hand_over() -> Work:
    """A chunk as it comes from the wire, until its first setpoint is chosen and limited.

    It is SEAM_RAD from the chunk before, from which the setpoint fades over.
    """
    from tierloop.device.arbiter import Arbiter
    from tierloop.device.guard import Guard

    spec, body, packer = policy(), Still(), Codec()
    guard = Guard(body.spec, body.tool_position, body.hold())
    reading, applied = body.read(0), body.hold()
    arbiter, turn = Arbiter("arm-0", 1, spec, body.spec, 10**9), 0
    answers = [
        packer.encode(chunk(spec, observation(spec, seq * spec.period_ns), SEAM_RAD * (seq % 2)))
        for seq in range(1, 257)
    ]

    def work() -> None:
        nonlocal arbiter, turn
        if turn == len(answers):
            arbiter, turn = Arbiter("arm-0", 1, spec, body.spec, 10**9), 0
        decoded = packer.decode(answers[turn])
        turn += 1
        assert isinstance(decoded, m.ActionChunk)
        now_ns = decoded.captured_ns + spec.period_ns // 4
        if refusal := arbiter.offer(now_ns, decoded, applied):
            raise RuntimeError(f"the chunk was refused: {refusal.name}")
        guard.limit(arbiter.choose(now_ns), reading.position_rad, reading.torque_nm)

    return work


def serve() -> Work:
    """Eight observations through the edge: decoded, batched, inferred, encoded."""
    from tierloop.cloud.export import export
    from tierloop.edge.config import EdgeConfig
    from tierloop.edge.node import EdgeNode
    from tierloop.edge.outbox import Outbox
    from tierloop.policy.artefact import digest, pack
    from tierloop.policy.mlp import Mlp
    from tierloop.policy.shelf import Shelf

    spec, packer, folder = policy(), Codec(), Path(tempfile.mkdtemp(prefix="tierloop-hot-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    artefact = export(
        Mlp.random(spec, HIDDEN, 0), version=0, parents=(), software="benchmark", seed=0,
        trained_on=(), samples={}, metrics={},
    )  # fmt: skip
    shelf, blob = Shelf(folder / "policies", spec), pack(artefact)
    shelf.stage(blob, digest(blob))
    shelf.activate(0)
    outbox = Outbox(folder / "outbox.sqlite", 10**8)
    names = [f"arm-{i}" for i in range(8)]
    node = EdgeNode(EdgeConfig(idle_w=1.0, busy_w=2.0), spec, shelf, outbox, 1, names)
    seq, answers = 0, list[bytes]()

    def apply(effects: list[Any]) -> None:
        pending = list(effects)
        while pending:
            effect = pending.pop(0)
            if isinstance(effect, Send):
                answers.append(packer.encode(effect.message))
            elif isinstance(effect, Compute):
                pending += node.on_done(1, effect.name, effect.job())
            elif isinstance(effect, Timer) and effect.name == "serve":
                pending += node.on_timer(1, effect.name)

    apply(node.on_start(1))
    for name in names:
        hello = m.Hello(node=name, role="device", boot=1, software="benchmark", spec=spec.digest)
        apply(node.on_message(1, name, hello))

    def work() -> None:
        nonlocal seq
        seq += 1
        answers.clear()
        effects = []
        for name in names:
            there = packer.decode(packer.encode(observation(spec, seq, name)))
            effects += node.on_message(1, name, there)
        apply(effects)
        if len(answers) != len(names):
            raise RuntimeError(f"{len(answers)} of {len(names)} observations were answered")

    return work


HOT: dict[str, Callable[[], Work]] = {
    "codec": codec,
    "segment": segment,
    "fading_tick": fading_tick,
    "fading_hand_over": fading_hand_over,
    "serve": serve,
}
"""By name; the value prepares and returns the unit of work."""
