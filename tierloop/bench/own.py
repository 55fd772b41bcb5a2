"""Bring your own: an ONNX policy and a body from any module, as the stack would use them.

The policy answers through an edge's own decision path in one process, the body is read and written
by a device's own tick. Nothing of the project's simulator, cloud or training takes part.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from contract.body import Body, Embodiment, Reading
from contract.clock import NS_PER_MS
from contract.codec import Codec
from contract.effects import Compute, Effects, Send, Timer
from contract.errors import UserError
from contract.messages import ActionChunk, Hello, Observation, Sealed, Stored
from contract.policy import Policy
from contract.specs import ArraySpec, FloatArray, PolicySpec
from device.config import DeviceConfig
from device.node import DeviceNode
from edge.config import EdgeConfig
from edge.node import EdgeNode
from tierloop.bench.protocol import Benchmark, Metric, Series, by_turns

INFERENCE = Metric("inference", "us")
DECISION = Metric("decision", "us")
TICK = Metric("tick", "us")
ENERGY = Metric("decision_energy", "mJ", clock="cpu")

METRICS = (INFERENCE, DECISION, TICK, ENERGY)

DECISIONS, TICKS = 20, 60
"""A block."""

PERIOD_NS = 50 * NS_PER_MS
"""Between decisions of a body that does not say."""

_DEVICE, _NOW_NS = "own", 1


class OnnxFile:
    """A stranger's graph: one float32 input [B, D], one float32 output [B, H, A] or [B, A].

    Raises UserError where it cannot be opened or is of another form, SpecError where it does not
    fit the body: the text names the field and both shapes.
    """

    version = 0

    def __init__(self, path: Path, spec: PolicySpec | None, body: Body) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}") from None
        except Exception as error:
            raise UserError(f"{path}: no policy: {str(error).splitlines()[0]}") from None
        into, out = self._session.get_inputs(), self._session.get_outputs()
        if len(into) != 1 or len(out) != 1:
            raise UserError(
                f"{path}: {len(into)} inputs and {len(out)} outputs; one each is needed"
            )
        self._name = into[0].name
        horizon = out[0].shape[1] if len(out[0].shape) == 3 else 1
        self.spec = spec or _plain_spec(body, horizon)
        observation, action = self.spec.observation.size, self.spec.action.size
        answers = [[self.spec.horizon, action], [action]][: 1 if self.spec.horizon > 1 else 2]
        _fit(path, "observation", into[0], [[observation]])
        _fit(path, "action", out[0], answers)

    def act(self, features: FloatArray) -> FloatArray:
        """Observations float32[B, D] to setpoints float32[B, H, A]."""
        (actions,) = self._session.run(None, {self._name: features})
        shaped: FloatArray = actions.reshape(-1, self.spec.horizon, self.spec.action.size)
        return shaped

    def bare(self, features: FloatArray) -> None:
        """The runtime alone."""
        self._session.run(None, {self._name: features})


class Plain:
    """The perceive stage of a body that brings none: positions, then velocities."""

    def update(self, reading: Reading) -> None:
        """Keeps nothing."""

    def features(self, reading: Reading) -> FloatArray:
        """float32[2 * joints]."""
        return np.concatenate([reading.position_rad, reading.velocity_rad_s]).astype(np.float32)


class Shelf:
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
        shelf: Any = Shelf(policy)
        self._node = EdgeNode(config, policy.spec, shelf, outbox, 1)
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
    by_turns(0, *measures)
    spent.clear()
    infer, decide_us, bare = by_turns(seconds / 2, *measures)
    loop = _Ticks(robot, device)
    loop.block()
    loop.bodily.clear()
    (ticks,) = by_turns(seconds / 2, loop.block)
    robot.body.close()
    return [
        Series(INFERENCE, infer, bare),
        Series(DECISION, decide_us, bare),
        Series(TICK, ticks, tuple(loop.bodily)),
        Series(ENERGY, tuple(spent)),
    ]


def embody(name: str) -> tuple[Embodiment | None, Body]:
    """What `MODULE:NAME` gives when called: an Embodiment, or a Body alone. Raises UserError."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UserError(f"--body {name}: expected MODULE:NAME, as in my_package:MyBody")
    sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(module), attribute)()
    except ModuleNotFoundError as error:
        raise UserError(f"--body {name}: {error}; run this where it can be imported") from None
    except Exception as error:
        said = (str(error).splitlines() or [""])[0]
        raise UserError(f"--body {name}: {type(error).__name__}: {said}") from None
    finally:
        sys.path.pop(0)
    if all(hasattr(made, field) for field in Embodiment._fields):
        return Embodiment(made.body, made.perceiver, made.policy), made.body
    lacking = [n for n in ("spec", "read", "write", "hold", "close", "tool_position")
               if not hasattr(made, n)]  # fmt: skip
    if lacking:
        raise UserError(f"--body {name}: a body has '{lacking[0]}', see contract/body.py")
    return None, made


class _Ticks:
    """A device's node around the body, on a clock that advances one period a tick."""

    def __init__(self, robot: Embodiment, config: DeviceConfig) -> None:
        self._body, self._spec = robot.body, robot.policy
        self._node = DeviceNode(_DEVICE, 1, robot, config, "own")
        self._now_ns = 0
        self._node.on_start(0)
        self.bodily: list[np.ndarray] = []

    def block(self) -> list[float]:
        """Microseconds of the stack's own a tick; the body's are kept."""
        ticks = [self._tick() for _ in range(TICKS)]
        self._node.report(self._now_ns)
        self.bodily.append(np.array([body for _, body in ticks]))
        return [own for own, _ in ticks]

    def _tick(self) -> tuple[float, float]:
        node, body = self._node, self._body
        self._now_ns += body.spec.control_period_ns
        begun = time.perf_counter_ns()
        reading = body.read(self._now_ns)
        read = time.perf_counter_ns()
        setpoint, effects = node.on_tick(self._now_ns, reading)
        chosen = time.perf_counter_ns()
        body.write(setpoint)
        written = time.perf_counter_ns()
        node.on_written(self._now_ns)
        ended = time.perf_counter_ns()
        for effect in effects:
            if isinstance(effect, Send):
                self._answer(effect.message)
        return (chosen - read + ended - written) / 1e3, (read - begun + written - chosen) / 1e3

    def _answer(self, message: object) -> None:
        if isinstance(message, Observation):
            spec = self._spec
            hold = np.clip(self._body.hold(), spec.action.low, spec.action.high)
            chunk = ActionChunk(
                device=_DEVICE, boot=1, seq=message.seq, captured_ns=message.captured_ns,
                period_ns=spec.period_ns, valid_until_ns=message.captured_ns + spec.validity_ns,
                policy_version=0, tier="edge", batch=1, held_ns=0, compute_ns=0,
                actions=np.tile(hold.astype(np.float32), (spec.horizon, 1)),
            )  # fmt: skip
            self._node.on_message(self._now_ns, "edge", chunk)
        elif isinstance(message, Sealed):
            stored = Stored(device=_DEVICE, boot=1, below=message.seq + 1)
            self._node.on_message(self._now_ns, "edge", stored)


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


def _fit(path: Path, field: str, given: Any, wanted: list[list[int]]) -> None:
    """The first dimension is the batch's; names are of any size."""
    tail = given.shape[1:]
    fits = given.type == "tensor(float)" and any(
        len(tail) == len(want) and all(isinstance(g, str | None) or g == w
                                       for g, w in zip(tail, want, strict=True))
        for want in wanted
    )  # fmt: skip
    if not fits:
        have = ", ".join(str(size) for size in ("*", *tail))
        want = ", ".join(str(size) for size in ("*", *wanted[0]))
        kind = given.type.removeprefix("tensor(").removesuffix(")")
        kind = "float32" if kind == "float" else kind
        raise UserError(f"{path}: {field} is {kind}[{have}], the body's is float32[{want}]")


def _plain_spec(body: Body, horizon: object) -> PolicySpec:
    """What follows from a body alone: joints in, setpoints and switch out."""
    spec = body.spec
    low, high, speed = spec.position_low_rad, spec.position_high_rad, spec.velocity_rad_s
    positions = tuple(f"{joint}_rad" for joint in spec.joints)
    speeds = tuple(f"{joint}_rad_s" for joint in spec.joints)
    return PolicySpec(
        task="own",
        body=spec.name,
        observation=ArraySpec(
            name="observation", labels=positions + speeds,
            low=(*low, *(-s for s in speed)), high=(*high, *speed),
        ),
        action=ArraySpec(
            name="action", labels=(*positions, "switch"), low=(*low, 0.0), high=(*high, 1.0)
        ),
        horizon=horizon if isinstance(horizon, int) and horizon > 0 else 1,
        period_ns=PERIOD_NS,
    )  # fmt: skip


def _configs(deployment: Path | None) -> tuple[DeviceConfig, EdgeConfig]:
    """Those of the deployment, or by default, with the watts of the hardware they name."""
    from tierloop.deployment import Deployment, load

    found = load(deployment) if deployment else Deployment(name="own")
    return found.device, found.edge


_NOTHING = SimpleNamespace(rows=0, bytes=0, unlent=0)
