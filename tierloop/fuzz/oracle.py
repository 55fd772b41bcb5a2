"""The witness: follows every life of every process from outside, and tells what it saw broken."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tierloop.cloud import store_view
from tierloop.cloud.node import CloudNode
from tierloop.contract.body import Body, Embodiment, Reading
from tierloop.contract.codec import digest64
from tierloop.contract.counters import SHED, members
from tierloop.contract.effects import Node
from tierloop.contract.messages import ActionChunk, Sealed, Stored, Welcome
from tierloop.contract.specs import Vector
from tierloop.device.node import DeviceNode
from tierloop.edge import outbox_view
from tierloop.edge.node import EdgeNode
from tierloop.fuzz.signed_policies import foreign
from tierloop.link.virtual import Way
from tierloop.policy.artefact import unpack
from tierloop.policy.mlp import Mlp
from tierloop.stack.record.disks import CLOUD_STORE, EDGE_OUTBOX, read
from tierloop.stack.virtual.faults import FaultyParts

Key = tuple[str, int, int]


class Life(NamedTuple):
    """One life of a device."""

    name: str
    boot: int
    node: DeviceNode
    port: "_Port"


class Parts(FaultyParts):
    """The parts of a stack with their faults, each followed by the witness."""

    witness: "Witness"

    def node(self, name: str, node: Node) -> Node:
        self.witness.follow(node)
        return super().node(name, node)

    def embodiment(self, name: str, embodiment: Embodiment) -> Embodiment:
        whole = super().embodiment(name, embodiment)
        return whole._replace(body=_Port(whole.body, partial(self.witness.meet, name)))


class _Port:
    """A body; at its first write the witness meets whoever drives it."""

    def __init__(self, body: Body, meet: Callable[["_Port"], None]) -> None:
        self._body, self._meet = body, meet
        self.writes = 0
        self.spec, self.tool_position = body.spec, body.tool_position
        self.hold, self.close = body.hold, body.close

    def read(self, now_ns: int) -> Reading:
        return self._body.read(now_ns)

    def write(self, setpoint: Vector) -> None:
        if not self.writes:
            self._meet(self)
        self.writes += 1
        self._body.write(setpoint)


class Witness:
    """`found` holds each broken promise with the first word about it."""

    def __init__(self, nodes: Callable[[], dict[str, Any]], now_ns: Callable[[], int]) -> None:
        self._nodes, self._now_ns = nodes, now_ns
        self.found: dict[str, str] = {}
        self.lives: list[Life] = []
        self.edge: EdgeNode | None = None
        self.cloud: CloudNode | None = None
        self.restarts = -2
        self._ways: list[tuple[Way, list[int]]] = []
        self._sealed: dict[Key, int] = {}
        self._promised: set[Key] = set()
        self._shed = 0
        self._answers: dict[tuple[int, bytes], ActionChunk] = {}

    def broken(self, name: str, detail: str) -> None:
        self.found.setdefault(name, f"{self._now_ns() / 1e9:.3f} s: {detail}")

    @property
    def promises(self) -> int:
        """Segments that devices know to be safe."""
        return len(self._promised)

    def weigh(self, ways: Iterable[Way]) -> None:
        """Counts what is put on the links from now on."""
        for way in ways:
            offered = [0]
            way.put = partial(_counted, way.put, offered)  # type: ignore[method-assign]
            self._ways.append((way, offered))

    def meet(self, name: str, port: _Port) -> None:
        """A device has begun to act."""
        node: DeviceNode = self._nodes()[name]
        self.restarts += any(life.name == name for life in self.lives)
        self.lives.append(Life(name, node.boot, node, port))
        node.watch.tell = lambda _ns, _name, detail: self.broken(
            detail.partition(":")[0], f"{name}: {detail.partition(': ')[2]}"
        )
        uplink, offer = node.uplink, node.arbiter.offer
        due, stored, resume = uplink.due, uplink.stored, uplink.resume

        def sends(now_ns: int) -> list[Sealed]:
            ready = due(now_ns)
            for sealed in ready:
                self._seal(sealed)
            return ready

        def hears(message: Stored) -> None:
            if (message.device, message.boot) == (name, node.boot):
                also = [n for n in message.also if 0 <= n < uplink.produced]
                self._promise(node, [*range(min(message.below, uplink.produced)), *also])
            stored(message)

        def resumes(welcome: Welcome) -> None:
            self._promise(node, range(min(welcome.acked, uplink.produced)))
            resume(welcome)

        def offers(now_ns: int, chunk: ActionChunk, *state: Any) -> Any:
            self._answers.setdefault((chunk.policy_version, chunk.actions[:, -1].tobytes()), chunk)
            return offer(now_ns, chunk, *state)

        uplink.due, uplink.stored, uplink.resume = sends, hears, resumes  # type: ignore[method-assign]
        node.arbiter.offer = offers  # type: ignore[method-assign, assignment]

    def follow(self, node: Node) -> None:
        """An edge or a cloud is about to start."""
        self.restarts += 1
        if isinstance(node, CloudNode):
            self.cloud = node
        if not isinstance(node, EdgeNode):
            return
        self.edge = node
        intake = node._relay._intake
        take = intake.take

        def takes(group: Any) -> Any:
            committed = take(group)
            self._shed += int(sum(members(SHED, committed.counts).values()))
            return committed

        intake.take = takes  # type: ignore[method-assign]

    def _seal(self, sealed: Sealed) -> None:
        key = (sealed.device, sealed.boot, sealed.seq)
        if self._sealed.setdefault(key, sealed.digest) != sealed.digest:
            self.broken("name_reused", f"{_words(key)} names two segments")

    def _promise(self, node: DeviceNode, numbers: Iterable[int]) -> None:
        self._promised |= {(node.name, node.boot, n) for n in numbers}

    def judge_links(self) -> None:
        """Nothing is under way any more: what was sent came, or was dropped for a reason."""
        for number, (way, (offered,)) in enumerate(self._ways):
            model = way.model
            if offered != model.carried + model.dropped.total():
                self.broken("conservation", f"way {number}: {offered} sent, lost without a reason")
            came = way.delivered + way.unreachable
            if model.carried + model.duplicated != came:
                words = f"{model.carried} carried, {model.duplicated} twice, {came} came"
                self.broken("conservation", f"way {number}: {words}")

    def judge_disks(self, place: Path) -> None:
        """What was promised to be safe is on disk once, as it was sealed."""
        stored = read(place / CLOUD_STORE, store_view.segments)
        waiting = read(place / EDGE_OUTBOX, outbox_view.waiting)
        times = Counter(row[:3] for row in stored)
        for key, n in times.items():
            if n > 1:
                self.broken("stored_twice", f"{_words(key)} is there {n} times")
        for segment in stored:
            key, digest = segment[:3], segment.digest
            if digest64(segment.body) != digest or self._sealed.get(key, digest) != digest:
                self.broken("altered", f"{_words(key)} is not what was sealed")
        for waits in waiting:
            key, digest = waits[:3], waits.digest
            if self._sealed.get(key, digest) != digest:
                self.broken("altered", f"{_words(key)} at the edge is not what was sealed")
        missing = self._promised - {*times} - {row[:3] for row in waiting}
        if len(missing) > self._shed:
            first = _words(min(missing))
            self.broken("acked_lost", f"{len(missing)} segments, {self._shed} shed, as {first}")

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


def _counted(put: Callable[..., None], offered: list[int], *arguments: Any) -> None:
    offered[0] += 1
    put(*arguments)


def _words(key: tuple[Any, ...]) -> str:
    device, boot, seq = key
    return f"{device} boot {boot} segment {seq}"
