"""The processes of a virtual stack: each is built from its files, as its real counterpart is."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from tierloop.cloud.backend import Backend, Hands, SerialBackend
from tierloop.cloud.node import CloudNode
from tierloop.cloud.store import STORE_FILE, Store
from tierloop.cloud.trainer import Trainer
from tierloop.contract.body import Embodiment
from tierloop.contract.effects import Compute
from tierloop.contract.messages import Hello, Report
from tierloop.contract.poses import Poses
from tierloop.contract.specs import FloatArray, PolicySpec
from tierloop.edge import serving
from tierloop.edge.node import CLOUD, EdgeNode
from tierloop.edge.node import NAME as EDGE
from tierloop.edge.outbox import OUTBOX_FILE, Outbox
from tierloop.link.channel import Client, Server
from tierloop.link.virtual import Port, Way
from tierloop.policy.shelf import Shelf
from tierloop.sim.catalogue import expert
from tierloop.stack.config import hardware
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.order import Order
from tierloop.stack.pose_tap import tapped
from tierloop.stack.record.summary import EXTRAPOLATED
from tierloop.stack.twin import twin_of
from tierloop.stack.virtual.costs import Charge, Metered
from tierloop.stack.virtual.device_driver import DeviceDriver
from tierloop.stack.virtual.digest import Trace
from tierloop.stack.virtual.heap import Heap
from tierloop.stack.virtual.server_driver import ServerDriver
from tierloop.stack.virtual.wrappers import Wrappers

Embody = Callable[[str, int], Embodiment]
Label = Callable[[FloatArray], FloatArray]


class Driver(Protocol):
    """One life of one process."""

    node: Any

    @property
    def turns(self) -> int: ...
    def start(self) -> None: ...
    def crash(self) -> None: ...
    def hang(self) -> None: ...
    def resume(self) -> None: ...
    def wake(self) -> None: ...
    def stop(self) -> None: ...


class Site(NamedTuple):
    """What all processes of a stack share, and what outlives each of them."""

    deployment: Deployment
    state: Path
    spec: PolicySpec
    embody: Embody
    backend: Backend | None
    label: Label | None
    pulse: Callable[[], None]
    wrappers: Wrappers
    heap: Heap
    trace: Trace
    ways: dict[tuple[str, str], Way]
    ports: dict[str, Port]
    tell: Callable[[Report], None]
    note: Callable[[str, str, str], None]
    """Hears what is to be said of a process: its name, a short word, the sentence."""
    poses: Callable[[Poses], None] | None
    """Hears where a robot and what moves about it are; None if nobody wants to know."""

    def order(self, name: str, role: str) -> Order:
        """Who a process is: the seed and software of its real counterpart."""
        out = str(self.state.parent)
        return Order(
            name=name, role=role, deployment=self.deployment, out=out, report_to="", began_ns=0
        )

    def charge(self, name: str, hardware_name: str, seed: int, boot: int) -> Charge:
        rng = np.random.default_rng([seed, boot])
        extrapolated = partial(self.note, name, EXTRAPOLATED)
        return Charge(hardware.load(hardware_name), rng, extrapolated)

    def connect(self, hello: Hello, server: str, wake: Callable[[], None]) -> Client:
        """A client's link with its server, under a route of this life's own."""
        name = hello.node
        up, down = self.ways[name, server], self.ways[server, name]
        route = f"{name}/{hello.boot}".encode()
        return Client(self.ports[server].connect(route, up, down, wake), hello, server)


class _Later:
    """Wakes a driver that is made after its links."""

    def __init__(self) -> None:
        self.driver: Driver | None = None

    def __call__(self) -> None:
        if self.driver is not None:
            self.driver.wake()


class EdgeBill:
    """Inference by the batch, commits by the record, installing by the policy."""

    def __init__(self, charge: Charge) -> None:
        self._charge = charge

    def before_ns(self, compute: Compute) -> int | None:
        rows = max(1, compute.rows)
        if compute.name == serving.INFER:
            return self._charge.infer_ns(compute.work, rows)
        return self._charge.ns("commit" if compute.lane == "disk" else "install", rows)

    def after_ns(self, compute: Compute) -> int:
        raise NotImplementedError


class CloudBill:
    """Commits by the record; learning by what it came to, and an export as an installation."""

    def __init__(self, charge: Charge, backend: Metered) -> None:
        self._charge, self._backend = charge, backend

    def before_ns(self, compute: Compute) -> int | None:
        return self._charge.ns("commit", max(1, compute.rows)) if compute.lane == "disk" else None

    def after_ns(self, compute: Compute) -> int:
        price_ns = self._backend.take_ns(self._charge) or self._charge.ns("install")
        return round(price_ns * getattr(compute.job, "factor", 1.0))


def device(site: Site, name: str, boot: int) -> DeviceDriver:
    """One robot; its body begins anew, as its world lives in the same process."""
    order, config = site.order(name, "device"), site.deployment.device
    show = site.poses
    poses_hz = site.deployment.record.poses_hz if show else 0
    robot, noted = tapped(site.embody(name, order.seed), name, boot, poses_hz)
    embodiment = site.wrappers.embodiment(name, robot)
    node = site.wrappers.device(name, boot, embodiment, config, order.software)
    hello = Hello(
        node=name, role="device", boot=boot, software=order.software, spec=site.spec.digest
    )
    number = site.deployment.scenario.robots.index(name)
    later = _Later()

    def tell(report: Report) -> None:
        site.tell(report)
        if show:
            for poses in noted():
                show(poses)

    later.driver = driver = DeviceDriver(
        node,
        embodiment.body,
        site.heap,
        site.wrappers.clock(name),
        site.charge(name, config.hardware, order.seed, boot),
        site.connect(hello, EDGE, later),
        tell,
        partial(site.trace.applied, number),
    )
    return driver


class _Edge(ServerDriver):
    def __init__(self, outbox: Outbox, *parts: Any) -> None:
        super().__init__(*parts)
        self._outbox = outbox

    def crash(self) -> None:
        super().crash()
        self._outbox.close()


def edge(site: Site, name: str, boot: int) -> ServerDriver:
    order, config, later = site.order(name, EDGE), site.deployment.edge, _Later()
    state = site.state / EDGE
    state.mkdir(parents=True, exist_ok=True)
    outbox = Outbox(state / OUTBOX_FILE, round(config.outbox_mb * 1e6))
    shelf = Shelf(state / "policies", site.spec)
    robots = site.deployment.scenario.robots
    node = site.wrappers.node(name, EdgeNode(config, site.spec, shelf, outbox, boot, robots))
    hello = Hello(node=EDGE, role=EDGE, boot=boot, software=order.software, spec=site.spec.digest)
    bill = EdgeBill(site.charge(name, config.hardware, order.seed, boot))
    server = Server(site.ports[EDGE].listen(later))
    client = site.connect(hello, CLOUD, later)
    clock = site.wrappers.clock(name)
    later.driver = driver = _Edge(outbox, node, site.heap, clock, bill, server, client, site.tell)
    return driver


class _Cloud(ServerDriver):
    def __init__(self, store: Store, *parts: Any) -> None:
        super().__init__(*parts)
        self._store = store

    def crash(self) -> None:
        super().crash()
        self._store.close()


def cloud(site: Site, name: str, boot: int) -> ServerDriver:
    order, deployment, later = site.order(name, CLOUD), site.deployment, _Later()
    config, learner, spec = deployment.cloud, deployment.learner, site.spec
    state = site.state / CLOUD
    state.mkdir(parents=True, exist_ok=True)
    twin = twin_of(deployment, order.software)
    hands = site.backend or SerialBackend(Hands(spec, learner, twin))
    backend = Metered(hands, config, learner, site.pulse)
    store = Store(state / STORE_FILE)
    label = site.label or (expert(spec) if learner.rounds_max else None)
    trainer = Trainer(spec, learner, label, backend, order.seed, order.software, boot)
    newest = store.policies.newest()
    if newest is not None:
        trainer.resume(newest, store.policies.next_version())
    robots = deployment.scenario.robots
    made = CloudNode(config, spec, store, trainer, backend, boot, newest, robots)
    node = site.wrappers.node(name, made)
    bill = CloudBill(site.charge(name, config.hardware, order.seed, boot), backend)
    server = Server(site.ports[CLOUD].listen(later))
    clock = site.wrappers.clock(name)
    later.driver = driver = _Cloud(store, node, site.heap, clock, bill, server, None, site.tell)
    return driver
