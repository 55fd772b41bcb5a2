"""The hot paths, each as a unit of work that one thread does: what `bench` and `compare` time.

It stands on the tiers alone and is run by path, so that the same measuring code times any checkout:

    PYTHONPATH=CHECKOUT python -P hot.py

reads requests, one a line of JSON ([name, calls, repeats]), and answers each with as many figures
as repeats: processor time of the thread in microseconds a call. Other work on the machine takes
turns with the thread, which does not count, and pollutes its caches, which does a little.
"""

import atexit
import gc
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from contract import messages as m
from contract.body import Embodiment, Reading
from contract.codec import Codec, digest64
from contract.effects import Compute, Send, Timer
from contract.ledger import LEDGER
from contract.specs import FloatArray, PolicySpec, Vector
from sim.scenario import Scenario, body_spec, policy_spec

Work = Callable[[], object]

HIDDEN = (256, 256)
"""Of the policy in every benchmark: 32 inputs, two layers of 256, eight setpoints of eight."""

DECISIONS = 10
"""In a segment."""


def policy() -> PolicySpec:
    """The sorting cell's."""
    return policy_spec(Scenario())


def messages() -> dict[str, m.Message]:
    """One of every message that crosses a tier, of the size it has in a run."""
    spec, rng = policy(), np.random.default_rng(0)
    features = rng.normal(size=(DECISIONS, spec.observation.size)).astype(np.float32)
    applied = rng.normal(size=(DECISIONS, spec.action.size)).astype(np.float32)
    stamps = np.arange(DECISIONS, dtype=np.int64) * spec.period_ns
    segment = m.Segment(
        device="arm-0", boot=1, seq=7, body="panda", software="benchmark", spec=spec.digest,
        captured_ns=stamps, features=features, applied=applied, age_ns=stamps,
        versions=np.zeros(DECISIONS, np.int64), seam_rad=0.01, refused={"expired": 1},
        outcomes=(),
    )  # fmt: skip
    body = Codec().encode(segment)
    sealed = m.Sealed(
        device="arm-0", boot=1, seq=7, digest=digest64(body), body=np.frombuffer(body, np.uint8)
    )
    digest = "0" * 64
    found: tuple[m.Message, ...] = (
        m.Hello(node="arm-0", role="device", boot=1, software="benchmark", spec=spec.digest),
        m.Welcome(node="edge", boot=1, acked=0),
        m.Refused(reason="not for this body", final=True),
        m.Beat(seq=9, sent_ns=10**15),
        m.Echo(seq=9, sent_ns=10**15, received_ns=10**15, echoed_ns=10**15),
        observation(spec, 1),
        chunk(spec, observation(spec, 1)),
        segment,
        sealed,
        m.Stored(device="arm-0", boot=1, below=7, also=(9, 10)),
        m.Offer(version=3, digest=digest, size=600_000, parents=(2,)),
        m.Fetch(digest=digest, offset=0, length=65536),
        m.Part(digest=digest, offset=0, data=np.zeros(65536, np.uint8)),
        m.PolicyStatus(node="edge", version=3, digest=digest, state="active"),
        m.Report(
            process="arm-0", role="device", boot=1, at_ns=10**15,
            counters={f"counter.{i}": float(i) for i in range(40)}, gauges={"backlog": 0.0},
            labels={"rung": "edge"}, decisions=np.zeros((20, len(LEDGER)), np.int64),
            lateness_ns=np.zeros(240, np.int64), outcomes=(), events=(),
        ),
    )  # fmt: skip
    return {type(message).__name__: message for message in found}


def observation(spec: PolicySpec, seq: int, device: str = "arm-0") -> m.Observation:
    """One that stands still."""
    features = np.zeros(spec.observation.size, np.float32)
    return m.Observation(device=device, boot=1, seq=seq, captured_ns=seq, features=features)


def chunk(spec: PolicySpec, answered: m.Observation) -> m.ActionChunk:
    """What an edge would send back."""
    return m.ActionChunk(
        device=answered.device, boot=answered.boot, seq=answered.seq,
        captured_ns=answered.captured_ns, period_ns=spec.period_ns,
        valid_until_ns=answered.captured_ns + spec.validity_ns, policy_version=0, tier="edge",
        batch=1, held_ns=0, compute_ns=0,
        actions=np.zeros((spec.horizon, spec.action.size), np.float32),
    )  # fmt: skip


def codec() -> Work:
    """An observation and its chunk, each encoded and decoded."""
    packer, known = Codec(), messages()
    there, back = known["Observation"], known["ActionChunk"]

    def work() -> None:
        packer.decode(packer.encode(there))
        packer.decode(packer.encode(back))

    return work


def segment() -> Work:
    """A segment's way into bytes and out of them, with its digest."""
    packer, known = Codec(), messages()
    there = known["Segment"]

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


def tick() -> Work:
    """A control tick of a device whose edge answers every observation; its body costs nothing."""
    from device.config import DeviceConfig
    from device.node import DeviceNode

    spec, body = policy(), Still()
    node = DeviceNode("arm-0", 1, Embodiment(body, Blind(spec.observation.size), spec),
                      DeviceConfig(), "benchmark")  # fmt: skip
    node.on_start(0)
    now_ns, period_ns = 0, body.spec.control_period_ns

    def work() -> None:
        nonlocal now_ns
        now_ns += period_ns
        setpoint, effects = node.on_tick(now_ns, body.read(now_ns))
        body.write(setpoint)
        node.on_written(now_ns)
        for effect in effects:
            message = effect.message if isinstance(effect, Send) else None
            if isinstance(message, m.Observation):
                node.on_sent(now_ns, message, 200)
                node.on_message(now_ns, "edge", chunk(spec, message))
            elif isinstance(message, m.Sealed):
                stored = m.Stored(device="arm-0", boot=1, below=message.seq + 1)
                node.on_message(now_ns, "edge", stored)
        if effects:
            node.report(now_ns)

    return work


def hand_over() -> Work:
    """A chunk as it comes from the wire, until its first setpoint is chosen and limited."""
    from device.arbiter import Arbiter
    from device.guard import Guard

    spec, body, packer = policy(), Still(), Codec()
    guard = Guard(body.spec, body.tool_position, body.hold())
    reading, applied = body.read(0), body.hold()
    arbiter, turn = Arbiter("arm-0", 1, spec, 10**9), 0
    answers = [
        packer.encode(chunk(spec, observation(spec, seq * spec.period_ns))) for seq in range(1, 257)
    ]

    def work() -> None:
        nonlocal arbiter, turn
        if turn == len(answers):
            arbiter, turn = Arbiter("arm-0", 1, spec, 10**9), 0
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
    from cloud.export import export
    from edge.config import EdgeConfig
    from edge.node import EdgeNode
    from edge.outbox import Outbox
    from policy.artefact import digest, pack
    from policy.mlp import Mlp
    from policy.shelf import Shelf

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
    node = EdgeNode(EdgeConfig(idle_w=1.0, busy_w=2.0), spec, shelf, outbox, 1)
    names = [f"arm-{i}" for i in range(8)]
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
    "tick": tick,
    "hand_over": hand_over,
    "serve": serve,
}
"""By name; the value prepares and returns the unit of work."""


def cpu_us(work: Work, calls: int, repeats: int) -> list[float]:
    """Processor time of this thread in microseconds a call, one figure a repeat."""
    figures = []
    gc.disable()
    try:
        for _ in range(repeats):
            begun_ns = time.thread_time_ns()
            for _ in range(calls):
                work()
            figures.append((time.thread_time_ns() - begun_ns) / calls / 1e3)
    finally:
        gc.enable()
    return figures


def plant(share: float) -> None:
    """Makes the codec do this share of its calls twice; 0 wraps it alike and changes nothing."""
    every = round(1 / share) if share else 0

    def wrapped(method: Any) -> Any:
        count = 0

        def call(self: Codec, value: Any) -> Any:
            nonlocal count
            count += 1
            if count == every:
                count = 0
                method(self, value)
            return method(self, value)

        return call

    setattr(Codec, "encode", wrapped(Codec.encode))  # noqa: B010
    setattr(Codec, "decode", wrapped(Codec.decode))  # noqa: B010


def main() -> None:
    if len(sys.argv) > 1:
        plant(float(sys.argv[1]))
    ready: dict[str, Work] = {}
    for line in sys.stdin:
        name, calls, repeats = json.loads(line)
        try:
            if name not in ready:
                ready[name] = HOT[name]()
                cpu_us(ready[name], calls, 2)
            answer: dict[str, Any] = {"us": cpu_us(ready[name], calls, repeats)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
