"""What the edge's tests stand on: real policies, segments, and a hand-cranked shell."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from plant import POLICY

from tierloop.cloud.export import export
from tierloop.contract.codec import Codec, digest64
from tierloop.contract.effects import Compute, Effects, Send, Timer
from tierloop.contract.messages import (
    Hello,
    Message,
    Observation,
    Offer,
    Outcome,
    Sealed,
    Segment,
    Welcome,
)
from tierloop.contract.specs import PolicySpec
from tierloop.edge.config import EdgeConfig
from tierloop.edge.node import EdgeNode
from tierloop.edge.outbox import Outbox
from tierloop.policy.artefact import digest
from tierloop.policy.artefact import pack as pack_artefact
from tierloop.policy.mlp import Mlp
from tierloop.policy.shelf import Shelf

SPEC = POLICY
MS = 1_000_000
S = 1_000_000_000


@cache
def blob(version: int, hidden: int = 8, spec: PolicySpec = SPEC) -> bytes:
    artefact = export(
        Mlp.random(spec, (hidden,), seed=version), version=version, parents=(), software="test",
        seed=version, trained_on=(), samples={}, metrics={},
    )  # fmt: skip
    return pack_artefact(artefact)


def offer(released: int, **changes: Any) -> Offer:
    data = blob(released)
    fields = {"version": released, "digest": digest(data), "size": len(data), "parents": ()}
    return Offer(**{**fields, **changes})


def stocked(directory: Path, *versions: int) -> Shelf:
    """A shelf on which these versions were activated in turn."""
    shelf = Shelf(directory, SPEC)
    for version in versions:
        shelf.stage(blob(version), digest(blob(version)))
        shelf.activate(version)
    return shelf


def observation(seq: int = 0, device: str = "arm", boot: int = 7, **changes: Any) -> Observation:
    features = np.full(SPEC.observation.size, 0.1, np.float32)
    fields = {"device": device, "boot": boot, "seq": seq, "captured_ns": 1000 + seq}
    return Observation(**{**fields, "features": features, **changes})


def segment(
    seq: int, device: str = "arm", boot: int = 7, rows: int = 10, **changes: Any
) -> Segment:
    rng = np.random.default_rng(seq)
    fields: dict[str, Any] = {
        "device": device,
        "boot": boot,
        "seq": seq,
        "body": "plant",
        "software": "test",
        "spec": SPEC.digest,
        "captured_ns": np.arange(rows) + seq * 1000,
        "features": rng.normal(size=(rows, SPEC.observation.size)).astype(np.float32),
        "applied": rng.normal(size=(rows, SPEC.action.size)).astype(np.float32),
        "age_ns": np.zeros(rows, np.int64),
        "versions": np.zeros(rows, np.int64),
        "seam_rad": 0.0,
        "refused": {},
        "outcomes": (),
    }
    return Segment(**{**fields, **changes})


def seal(message: Message, **changes: Any) -> Sealed:
    body = Codec().encode(message)
    fields = {
        "device": getattr(message, "device", "arm"),
        "boot": getattr(message, "boot", 7),
        "seq": getattr(message, "seq", 0),
        "digest": digest64(body),
        "body": np.frombuffer(body, np.uint8),
    }
    return Sealed(**{**fields, **changes})


def sealed(seq: int, device: str = "arm", boot: int = 7, **changes: Any) -> Sealed:
    return seal(segment(seq, device, boot, **changes))


def outcome(success: bool) -> Outcome:
    return Outcome(number=0, success=success, reason="", policy_version=0, started_ns=0, ended_ns=1)


def hello(device: str = "arm", boot: int = 7, **changes: Any) -> Hello:
    fields = {"node": device, "role": "device", "boot": boot, "software": "test"}
    return Hello(**{**fields, "spec": SPEC.digest, **changes})


WELCOME = Welcome(node="cloud", boot=1, acked=0)


class Bench:
    """Drives a node by hand: jobs run in line, except in lanes that are held."""

    def __init__(
        self,
        directory: Path,
        *versions: int,
        config: EdgeConfig | None = None,
        robots: tuple[str, ...] | None = None,
    ) -> None:
        self.now_ns = 10 * S
        self.sent: list[Send] = []
        self.timers: dict[str, int] = {}
        self.held: dict[str, list[Compute]] = {}
        self.carry: Callable[[Compute], Any] = lambda compute: compute.job()
        self.shelf = stocked(directory / "policies", *versions)
        config = config or EdgeConfig(idle_w=4.0, busy_w=10.0, dedicated=True)
        self.outbox = Outbox(directory / "outbox.sqlite", round(config.outbox_mb * 1e6))
        self.node = EdgeNode(config, SPEC, self.shelf, self.outbox, 99, robots)

    def start(self) -> "Bench":
        self.apply(self.node.on_start(self.now_ns))
        return self

    def join(self, *devices: str, boot: int = 7) -> None:
        for device in devices:
            self.hear(device, hello(device, boot))

    def hear(self, peer: str, *messages: Message) -> list[Message]:
        """Messages that came in together; what was answered to whom it may concern."""
        before = len(self.sent)
        for message in messages:
            self.apply(self.node.on_message(self.now_ns, peer, message))
        self.fire()
        return [send.message for send in self.sent[before:]]

    def advance(self, delta_ns: int) -> list[Message]:
        """Lets time pass, timer by timer."""
        before, end_ns = len(self.sent), self.now_ns + delta_ns
        while self.timers and min(self.timers.values()) <= end_ns:
            self.now_ns = max(self.now_ns, min(self.timers.values()))
            self.fire()
        self.now_ns = end_ns
        return [send.message for send in self.sent[before:]]

    def fire(self) -> None:
        while due := [n for n, at_ns in self.timers.items() if at_ns <= self.now_ns]:
            for name in due:
                del self.timers[name]
                self.apply(self.node.on_timer(self.now_ns, name))

    def hold(self, lane: str) -> None:
        self.held[lane] = []

    def release(self, lane: str) -> None:
        for compute in self.held.pop(lane):
            self.run(compute)

    def run(self, compute: Compute) -> None:
        try:
            result = self.carry(compute)
        except Exception as error:
            result = error
        self.apply(self.node.on_done(self.now_ns, compute.name, result))

    def apply(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.sent.append(effect)
            elif isinstance(effect, Timer):
                self.timers[effect.name] = effect.at_ns
            elif effect.lane in self.held:
                self.held[effect.lane].append(effect)
            else:
                self.run(effect)

    def to(self, peer: str, kind: type[Message]) -> list[Any]:
        return [s.message for s in self.sent if s.to == peer and isinstance(s.message, kind)]

    def counters(self) -> dict[str, float]:
        return self.node.report(self.now_ns).counters
