"""Each tier's node behind the link's own channels, in memory and by hand: no socket, no clock.

`hear` puts frames on the wire as a peer would, and lets the node take all of them; what would end a
process is raised in the test. `asleep` reads a clock nowhere: time passes when a test says so.
"""

import inspect
from collections import deque
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from plant import POLICY, embodiment

from tierloop.cloud.backend import Hands, SerialBackend
from tierloop.cloud.config import CloudConfig, LearnerConfig
from tierloop.cloud.export import export
from tierloop.cloud.node import CloudNode
from tierloop.cloud.store import Store
from tierloop.cloud.trainer import Trainer
from tierloop.contract.codec import Codec
from tierloop.contract.effects import Compute, Effects, Node, Send, Timer
from tierloop.contract.messages import (
    Beat,
    Echo,
    Hello,
    Message,
    Observation,
    Offer,
    Report,
    Welcome,
)
from tierloop.device.config import DeviceConfig
from tierloop.device.loop import Loop
from tierloop.device.node import DeviceNode
from tierloop.edge.config import EdgeConfig
from tierloop.edge.node import EdgeNode
from tierloop.edge.outbox import Outbox
from tierloop.link.channel import Client, Server
from tierloop.policy.artefact import digest, pack
from tierloop.policy.mlp import Mlp
from tierloop.policy.shelf import Shelf
from tierloop.sim.catalogue import expert

S, MS = 1_000_000_000, 1_000_000
ROBOTS = ("arm-0", "arm-1")
CODEC = Codec()


class Wire:
    """A transport that keeps what is sent, for either end; `full` takes nothing more."""

    def __init__(self) -> None:
        self.come: deque = deque()
        self.gone: list[tuple[bytes, Message]] = []
        self.full = False

    def receive(self):
        return self.come.popleft() if self.come else None

    def close(self) -> None:
        pass

    def _take(self, route: bytes, data: bytes) -> bool:
        if not self.full:
            self.gone.append((route, CODEC.decode(data)))
        return not self.full


class Below(Wire):
    def send(self, route: bytes, data: bytes) -> bool:
        return self._take(route, data)


class Above(Wire):
    def send(self, data: bytes) -> bool:
        return self._take(b"", data)

    def counters(self) -> dict[str, float]:
        return {}


class Bench:
    """A node that serves, and may have a server of its own; jobs are run as they come."""

    def __init__(self, node: Node, above: Hello | None = None, server: str = "cloud") -> None:
        self.node, self.now_ns = node, 100 * S
        self.below, self.above = Below(), Above()
        self.server = Server(self.below)
        self.client = Client(self.above, above, server) if above is not None else None
        self.timers: dict[str, int] = {}
        self._apply(node.on_start(self.now_ns))
        self.step()

    def hear(self, route: bytes, *frames: bytes | Message) -> list[Message]:
        """What is answered to that route."""
        self.below.come.extend((route, _bytes(frame)) for frame in frames)
        return self._heard(self.below, route)

    def told(self, *frames: bytes | Message) -> list[Message]:
        """Frames from above; what is said to them."""
        self.above.come.extend(map(_bytes, frames))
        return self._heard(self.above, b"")

    def _heard(self, wire: Wire, route: bytes) -> list[Message]:
        before = len(wire.gone)
        while self.below.come or self.above.come:
            self.step()
        self.step()
        return [message for to, message in wire.gone[before:] if to == route]

    def step(self, delta_ns: int = MS) -> None:
        """Time passes; what has come is taken, what is due is done."""
        self.now_ns += delta_ns
        for channel in filter(None, (self.server, self.client)):
            for peer in channel.lost(self.now_ns):
                self._apply(self.node.on_lost(self.now_ns, peer))
            for peer, message in channel.poll(self.now_ns):
                self._apply(self.node.on_message(self.now_ns, peer, message))
        for name in [n for n, at_ns in self.timers.items() if at_ns <= self.now_ns]:
            if self.timers.pop(name, self.now_ns + 1) <= self.now_ns:
                self._apply(self.node.on_timer(self.now_ns, name))

    def report(self) -> Report:
        """The node's report; it fits a frame."""
        report = self.node.report(self.now_ns)
        CODEC.encode(report)
        return report

    def count(self, name: str) -> int:
        return int(self.report().counters.get(name, 0))

    def _apply(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case Send() if self.client is not None and effect.to == self.client.server:
                    self.client.send(effect.message)
                case Send():
                    self.server.send(effect.to, effect.message)
                case Timer():
                    self.timers[effect.name] = effect.at_ns
                case Compute():
                    self._apply(self.node.on_done(self.now_ns, effect.name, _attempt(effect)))


def _attempt(compute: Compute):
    try:
        return compute.job()
    except Exception as error:
        return error


def _bytes(frame: bytes | Message) -> bytes:
    return frame if isinstance(frame, bytes) else CODEC.encode(frame)


def hello(node: str, role: str, boot: int = 7) -> Hello:
    return Hello(node=node, role=role, boot=boot, software="x", spec=POLICY.digest)


@cache
def blob(version: int) -> bytes:
    """A release of that version."""
    artefact = export(
        Mlp.random(POLICY, (8,), seed=version), version=version, parents=(), software="x",
        seed=version, trained_on=(), samples={}, metrics={},
    )  # fmt: skip
    return pack(artefact)


def offer(version: int, **changes) -> Offer:
    data = blob(version)
    fields = {"version": version, "digest": digest(data), "size": len(data), "parents": ()}
    return Offer(**(fields | changes))


def edge(folder: Path, *versions: int) -> Bench:
    """An edge with these policies on its shelf, in session with its cloud."""
    shelf = Shelf(folder / "policies", POLICY)
    for version in versions:
        shelf.stage(blob(version), digest(blob(version)))
        shelf.activate(version)
    outbox = Outbox(folder / "outbox.sqlite", 10_000_000)
    config = EdgeConfig(idle_w=4.0, busy_w=10.0)
    bench = Bench(
        EdgeNode(config, POLICY, shelf, outbox, 99, **_robots(EdgeNode)), hello("edge", "edge")
    )
    bench.told(Welcome(node="cloud", boot=1, acked=0))
    return bench


def cloud(folder: Path) -> Bench:
    """A cloud that has made its first release and learns no more."""
    store, config = Store(folder / "store.sqlite"), LearnerConfig(hidden=(8,), rounds_max=0)
    backend = SerialBackend(Hands(POLICY, config, lambda: None))
    trainer = Trainer(POLICY, config, expert(POLICY), backend, 1, "x", 5)
    power = CloudConfig(idle_w=60.0, busy_w=150.0)
    return Bench(CloudNode(power, POLICY, store, trainer, backend, 5, None, **_robots(CloudNode)))


def _robots(node: type) -> dict[str, tuple[str, ...]]:
    return {"robots": ROBOTS} if "robots" in inspect.signature(node).parameters else {}


class Robot:
    """A device and its body, ticked by hand, in session with its edge."""

    def __init__(self, name: str = "arm-0", boot: int = 7) -> None:
        body = embodiment()
        self.node = DeviceNode(name, boot, body, DeviceConfig(), "x")
        self.wire = Above()
        self.link = Client(self.wire, hello(name, "device", boot), "edge")
        self.now_ns, self._period_ns = 100 * S, body.body.spec.control_period_ns
        self.node.on_start(self.now_ns)
        self.loop = Loop(self.node, body.body, self.link, self.now_ns)
        self.tell(Welcome(node="edge", boot=1, acked=0))

    def tell(self, *frames: bytes | Message, ticks: int = 1) -> list[Message]:
        """Frames from its edge, and ticks; what it sends meanwhile."""
        before = len(self.wire.gone)
        self.wire.come.extend(map(_bytes, frames))
        while ticks > 0 or self.wire.come:
            ticks -= 1
            self.now_ns += self._period_ns
            arrived = self.loop.arrived(self.now_ns)
            setpoint, effects = self.loop.tick(self.now_ns, arrived)
            assert np.isfinite(setpoint).all()
            self.node.on_written(self.now_ns)
            self.loop.apply(effects, lambda: self.now_ns)
        return [message for _, message in self.wire.gone[before:]]

    def asked(self, kind: type[Message]) -> Message:
        """The last of what it sent of this kind, after a few ticks."""
        self.tell(ticks=14)
        return [message for _, message in self.wire.gone if isinstance(message, kind)][-1]

    def echo(self) -> Echo:
        """An honest echo of its next beat."""
        self.tell(ticks=60)
        said = [message for _, message in self.wire.gone if isinstance(message, Beat)][-1]
        now_ns = self.now_ns
        return Echo(seq=said.seq, sent_ns=said.sent_ns, received_ns=now_ns, echoed_ns=now_ns)

    def answer(self, asked: Observation) -> dict[str, Any]:
        """What an honest edge says to a question, but for the actions."""
        return {
            "device": asked.device, "boot": asked.boot, "seq": asked.seq,
            "captured_ns": asked.captured_ns, "ahead_ns": asked.ahead_ns,
            "period_ns": POLICY.period_ns, "valid_until_ns": asked.captured_ns + POLICY.validity_ns,
            "policy_version": 1, "tier": "edge", "batch": 1, "held_ns": 1, "compute_ns": 1,
            "arrived_ns": 1,
        }  # fmt: skip

    def report(self) -> Report:
        report = self.loop.report(self.now_ns, 0.0, {})
        CODEC.encode(report)
        return report


def beat(seq: int) -> Beat:
    return Beat(seq=seq, sent_ns=seq)
