"""The oracle: follows every life of every process from outside, and tells what was violated."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tierloop.cloud import store_view
from tierloop.cloud.node import CloudNode
from tierloop.contract.body import Body, Embodiment, Reading
from tierloop.contract.codec import digest64
from tierloop.contract.effects import Effects, Node, Send
from tierloop.contract.messages import ActionChunk, Message, Sealed, SegmentId, Stored, Welcome
from tierloop.contract.specs import Vector
from tierloop.device.config import DeviceConfig
from tierloop.device.node import DeviceNode
from tierloop.edge import outbox_view
from tierloop.edge.node import EdgeNode
from tierloop.fuzz.signed_policies import foreign
from tierloop.link.virtual import Way
from tierloop.policy.artefact import unpack
from tierloop.policy.mlp import Mlp
from tierloop.stack.record.disks import CLOUD_STORE, EDGE_OUTBOX, read
from tierloop.stack.virtual.faults import FaultyParts


class DeviceLife(NamedTuple):
    """One life of a device."""

    name: str
    boot: int
    node: DeviceNode
    port: "_Port"


class WatchedParts(FaultyParts):
    """The parts of a stack with their faults, each followed by the oracle."""

    oracle: "Oracle"

    def node(self, name: str, node: Node) -> Node:
        self.oracle.follow(node)
        return super().node(name, node)

    def device(
        self, name: str, boot: int, embodiment: Embodiment, config: DeviceConfig, software: str
    ) -> DeviceNode:
        port = embodiment.body
        assert isinstance(port, _Port)
        node = _Followed(self.oracle, name, boot, embodiment, config, software)
        self.oracle.meet(DeviceLife(name, boot, node, port))
        return node

    def embodiment(self, name: str, embodiment: Embodiment) -> Embodiment:
        whole = super().embodiment(name, embodiment)
        return whole._replace(body=_Port(whole.body))


class _Followed(DeviceNode):
    """A device's node that tells the oracle what goes in and what comes out."""

    def __init__(self, oracle: "Oracle", *arguments: Any) -> None:
        super().__init__(*arguments)
        self._oracle = oracle
        self.watch.tell = self._violated

    def on_tick(self, now_ns: int, reading: Reading) -> tuple[Vector, Effects]:
        setpoint, effects = super().on_tick(now_ns, reading)
        self._oracle.said(effects)
        return setpoint, effects

    def flush(self, now_ns: int) -> Effects:
        effects = super().flush(now_ns)
        self._oracle.said(effects)
        return effects

    def on_message(self, now_ns: int, peer: str, message: Message) -> Effects:
        self._oracle.heard(self, message)
        return super().on_message(now_ns, peer, message)

    def _violated(self, _now_ns: int, _name: str, detail: str) -> None:
        invariant, _, words = detail.partition(": ")
        self._oracle.broken(invariant, f"{self.name}: {words}")


class _Port:
    """A body; `writes` counts the setpoints that it was handed."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.writes = 0
        self.spec, self.tool_position = body.spec, body.tool_position
        self.hold, self.close = body.hold, body.close

    def read(self, now_ns: int) -> Reading:
        return self._body.read(now_ns)

    def write(self, setpoint: Vector) -> None:
        self.writes += 1
        self._body.write(setpoint)


class Oracle:
    """`found`: each invariant that was violated, with the first detail."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self.found: dict[str, str] = {}
        self.lives: list[DeviceLife] = []
        self.edge: EdgeNode | None = None
        self.cloud: CloudNode | None = None
        self.restarts = -2
        self._sealed: dict[SegmentId, int] = {}
        self._acknowledged: set[SegmentId] = set()
        self._answers: dict[tuple[int, bytes], ActionChunk] = {}

    def broken(self, name: str, detail: str) -> None:
        self.found.setdefault(name, f"{self._now_ns() / 1e9:.3f} s: {detail}")

    @property
    def acknowledged(self) -> int:
        """Segments that devices know to be safe."""
        return len(self._acknowledged)

    def meet(self, life: DeviceLife) -> None:
        """A device is about to start."""
        self.restarts += any(before.name == life.name for before in self.lives)
        self.lives.append(life)

    def follow(self, node: Node) -> None:
        """An edge or a cloud is about to start."""
        self.restarts += 1
        if isinstance(node, CloudNode):
            self.cloud = node
        if isinstance(node, EdgeNode):
            self.edge = node

    def said(self, effects: Effects) -> None:
        """A device says something."""
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, Sealed):
                self._seal(effect.message)

    def heard(self, node: DeviceNode, message: Message) -> None:
        """A device is about to hear something."""
        produced = node.uplink.produced
        match message:
            case ActionChunk(policy_version=version, actions=actions):
                self._answers.setdefault((version, actions[:, -1].tobytes()), message)
            case Welcome():
                self._acknowledge(node, range(min(message.acked, produced)))
            case Stored(device=node.name, boot=node.boot):
                also = [n for n in message.also if 0 <= n < produced]
                self._acknowledge(node, [*range(min(message.below, produced)), *also])
            case _:
                pass

    def _seal(self, sealed: Sealed) -> None:
        key = SegmentId(sealed.device, sealed.boot, sealed.seq)
        if self._sealed.setdefault(key, sealed.digest) != sealed.digest:
            self.broken("name_reused", f"{key} names two segments")

    def _acknowledge(self, node: DeviceNode, numbers: Iterable[int]) -> None:
        self._acknowledged |= {SegmentId(node.name, node.boot, n) for n in numbers}

    def judge_links(self, ways: Iterable[Way]) -> None:
        """Nothing is under way any more: what was sent came, or was dropped for a reason."""
        for number, way in enumerate(ways):
            model = way.model
            if way.offered != model.carried + model.dropped.total():
                self.broken(
                    "conservation", f"way {number}: {way.offered} sent, lost without a reason"
                )
            came = way.delivered + way.unreachable
            if model.carried + model.duplicated != came:
                words = f"{model.carried} carried, {model.duplicated} twice, {came} came"
                self.broken("conservation", f"way {number}: {words}")

    def judge_disks(self, place: Path) -> None:
        """What was acknowledged is on disk once, as it was sealed."""
        stored = list(read(place / CLOUD_STORE, store_view.segments))
        waiting = list(read(place / EDGE_OUTBOX, outbox_view.waiting))
        times = Counter(segment.key for segment in stored)
        for key, n in times.items():
            if n > 1:
                self.broken("stored_twice", f"{key} is there {n} times")
        for segment in stored:
            key, digest = segment.key, segment.digest
            if digest64(segment.body) != digest or self._sealed.get(key, digest) != digest:
                self.broken("altered", f"{key} is not what was sealed")
        for key, digest in waiting:
            if self._sealed.get(key, digest) != digest:
                self.broken("altered", f"{key} at the edge is not what was sealed")
        missing = self._acknowledged - {*times} - {segment.key for segment in waiting}
        shed = sum(read(place / EDGE_OUTBOX, outbox_view.dropped))
        if len(missing) > shed:
            first = min(missing)
            self.broken("acked_lost", f"{len(missing)} segments, {shed} shed, as {first}")

    def judge_answers(self, place: Path) -> None:
        """Each answer is that of the one version it names."""
        networks = {}
        for version, blob in read(place / CLOUD_STORE, store_view.artefacts):
            artefact = unpack(blob)
            networks[version] = Mlp.decode(artefact.mlp, artefact.manifest.spec)
        for (version, _), chunk in self._answers.items():
            if version not in networks:
                self.broken("version_mixed", f"v{version} acted and was never released")
            elif foreign(chunk.actions, networks[version]):
                self.broken("version_mixed", f"action {chunk.seq} says v{version}, it is not")
