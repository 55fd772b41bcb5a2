"""Bring your own: an ONNX policy and a body from any module, as the stack would use them.

The policy answers through an edge's own decision path in one process, the body is read and written
by a device's own tick. Nothing of the project's simulator, cloud or training takes part.
"""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tierloop.bench.own.body import Plain, embody
from tierloop.bench.own.policy import OnnxFile
from tierloop.bench.protocol import Benchmark, Series, by_turns
from tierloop.bench.ticks import Ticks
from tierloop.contract.body import Embodiment
from tierloop.contract.budget import Metric
from tierloop.contract.codec import Codec
from tierloop.contract.effects import Compute, Effects, Send, Timer
from tierloop.contract.messages import Hello, Observation
from tierloop.contract.policy import Policy
from tierloop.device.config import DeviceConfig
from tierloop.edge.config import EdgeConfig
from tierloop.edge.node import EdgeNode

INFERENCE = Metric("inference", "us")
DECISION = Metric("decision", "us")
TICK = Metric("tick", "us")
ENERGY = Metric("decision_energy", "mJ", clock="cpu")

METRICS = (INFERENCE, DECISION, TICK, ENERGY)

DECISIONS, TICKS = 20, 60
"""A block."""

_DEVICE, _NOW_NS = "own", 1


class OwnShelf:
    """One policy that is in force already."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.journal = [SimpleNamespace(digest="own")]

    def active(self) -> Policy:
        """The policy."""
        return self._policy


class Edge:
    """An edge's node, driven in line: an observation's bytes in, the chunk's bytes out."""

    def __init__(self, policy: Policy, config: EdgeConfig) -> None:
        outbox: Any = SimpleNamespace(load=lambda: SimpleNamespace(below={}, standing=_NOTHING))
        shelf: Any = OwnShelf(policy)
        self._node = EdgeNode(config, policy.spec, shelf, outbox, 1, (_DEVICE,))
        self._codec, self._answers = Codec(), list[bytes]()
        self._apply(self._node.on_start(_NOW_NS))
        hello = Hello(node=_DEVICE, role="device", boot=1, software="own", spec=policy.spec.digest)
        self._apply(self._node.on_message(_NOW_NS, _DEVICE, hello))

    def answer(self, data: bytes) -> bytes:
        """Raises RuntimeError if the edge has no answer, as to a policy that gives no numbers."""
        self._answers.clear()
        self._apply(self._node.on_message(_NOW_NS, _DEVICE, self._codec.decode(data)))
        if not self._answers:
            raise RuntimeError("the edge refused what the policy answered")
        return self._answers[-1]

    def _apply(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._answers.append(self._codec.encode(effect.message))
            elif isinstance(effect, Timer):
                self._apply(self._node.on_timer(_NOW_NS, effect.name))
            elif isinstance(effect, Compute):
                try:
                    result = effect.job()
                except Exception as error:
                    result = error
                self._apply(self._node.on_done(_NOW_NS, effect.name, result))


def benchmark(policy: Path, body: str, deployment: Path | None) -> Benchmark:
    """Checks everything, measures nothing yet. Raises UserError in one line."""
    embodiment, given = embody(body)
    onnx = OnnxFile(policy, embodiment.policy if embodiment else None, given)
    robot = embodiment or Embodiment(given, Plain(), onnx.spec)
    device, edge = _configs(deployment)
    return Benchmark(
        "own",
        f"What do {policy.name} and {body} cost?",
        "the runtime alone with the same numbers (a tick: the body alone)",
        METRICS,
        lambda seconds: measure(seconds, onnx, robot, device, edge),
    )


def measure(
    seconds: float, policy: OnnxFile, robot: Embodiment, device: DeviceConfig, edge: EdgeConfig
) -> list[Series]:
    """Inference and decision beside the runtime alone; the tick beside the body alone."""
    robot.perceiver.update(reading := robot.body.read(0))
    features = np.ascontiguousarray(robot.perceiver.features(reading))
    policy.spec.observation.validate(features)
    served, rows = Edge(policy, edge), features[None]
    spent: list[np.ndarray] = []
    busy_w = (edge.busy_w or 0.0) - (edge.idle_w or 0.0)
    seq = 0

    def decide() -> None:
        nonlocal seq
        seq += 1
        codec = Codec()
        asked = Observation(device=_DEVICE, boot=1, seq=seq, captured_ns=seq, features=features)
        codec.decode(served.answer(codec.encode(asked)))

    def decisions() -> list[float]:
        cpu_us: list[float] = []
        found = _timed(decide, DECISIONS, cpu_us)
        spent.append(np.array(cpu_us) * busy_w / 1e3)
        return found

    measures = (
        lambda: _timed(lambda: policy.act(rows), DECISIONS),
        decisions,
        lambda: _timed(lambda: policy.bare(rows), DECISIONS),
    )
    try:
        by_turns(0, *measures)
        spent.clear()
        infer, decide_us, bare = by_turns(seconds / 2, *measures)
        loop = Ticks(robot, device)
        loop.block(TICKS)
        loop.clear()
        (ticks,) = by_turns(seconds / 2, lambda: loop.block(TICKS))
    finally:
        robot.body.close()
    return [
        Series(INFERENCE, infer, bare),
        Series(DECISION, decide_us, bare),
        Series(TICK, ticks, tuple(loop.bodily)),
        Series(ENERGY, tuple(spent)),
    ]


def _timed(
    work: Callable[[], object], calls: int, cpu_us: list[float] | None = None
) -> list[float]:
    """Microseconds of each call; those of processor time go to `cpu_us`."""
    found = []
    for _ in range(calls):
        begun_cpu, begun = time.thread_time_ns(), time.perf_counter_ns()
        work()
        found.append((time.perf_counter_ns() - begun) / 1e3)
        if cpu_us is not None:
            cpu_us.append((time.thread_time_ns() - begun_cpu) / 1e3)
    return found


def _configs(deployment: Path | None) -> tuple[DeviceConfig, EdgeConfig]:
    """Those of the deployment, or by default, with the watts of the hardware they name."""
    from tierloop.stack.config.deployment import load, resolve
    from tierloop.stack.config.deployment_file import DeploymentFile

    found = load(deployment) if deployment else resolve(DeploymentFile(name="own"))
    return found.device, found.edge


_NOTHING = SimpleNamespace(rows=0, bytes=0, unlent=0)
