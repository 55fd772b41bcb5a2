"""The whole stack on the virtual clock: the very same nodes and channels, in one process."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tierloop.cloud.backend import Backend
from tierloop.cloud.store import STORE_FILE
from tierloop.contract.clock import NS_PER_MS, period_ns
from tierloop.contract.messages import Report
from tierloop.contract.poses import Poses
from tierloop.device.loop import HALT_NS
from tierloop.edge.node import CLOUD
from tierloop.edge.node import NAME as EDGE
from tierloop.link.direction import DirectionSpec
from tierloop.link.model import LinkModel
from tierloop.link.virtual import Port, Way
from tierloop.sim.embody import embody
from tierloop.sim.scenario import policy_spec
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.record.record import ROOF, Happening
from tierloop.stack.virtual import processes
from tierloop.stack.virtual.device_driver import DeviceDriver
from tierloop.stack.virtual.digest import Trace
from tierloop.stack.virtual.heap import Heap
from tierloop.stack.virtual.processes import Driver, Embody, Label, Site
from tierloop.stack.virtual.wrappers import Wrappers

DRAIN_NS = 500 * NS_PER_MS
"""How long edge and cloud go on after the bodies have come to rest."""

_LINKS, _PHASES = range(2)

_MAKE: dict[str, Callable[[Site, str, int], Driver]] = {
    "device": processes.device,
    EDGE: processes.edge,
    CLOUD: processes.cloud,
}

Observer = Callable[[Report], None]


class VirtualStack:
    """Devices, edge and cloud of a deployment, all on one heap, from the seed alone.

    `run(until_ns)` lives on; time begins at 0. `crash` drops a process with all it has in memory,
    `restart` builds it again from its files; while it is hung it does no work but its sessions go
    on. `links[source, target]` is the model of one direction, whose `conditions` may be set at
    any time. `observers` hear every report; `events` tells what became of processes.
    """

    def __init__(
        self,
        deployment: Deployment,
        seed: int,
        state: Path,
        *,
        embodiments: Embody | None = None,
        backend: Backend | None = None,
        label: Label | None = None,
        observers: Sequence[Observer] = (),
        wrappers: Wrappers | None = None,
        pulse: Callable[[], None] = lambda: None,
        poses: Callable[[Poses], None] | None = None,
    ) -> None:
        """`state` is the folder of what outlives a process, `embodiments(name, seed)` makes a
        body, `backend` and `label` do the learning; by default as the deployment says. `pulse` is
        called between the jobs of learning; `poses`, if any, hears where robots and parts are."""
        deployment = msgspec.structs.replace(deployment, seed=seed)
        scenario = deployment.scenario
        self.deployment, self.trace, self.events = deployment, Trace(), list[Happening]()
        self._heap, self._observers = Heap(), observers
        self._robots = scenario.robots
        self._tick_ns = period_ns(scenario.control_hz)
        self._roles = {**dict.fromkeys(self._robots, "device"), EDGE: EDGE, CLOUD: CLOUD}
        self._boots = dict.fromkeys(self._roles, 0)
        self._drivers: dict[str, Driver] = {}
        self._turns = 0
        ways = self._ways(seed)
        self.links = {ends: way.model for ends, way in ways.items()}
        self.ways = ways
        reality = deployment.reality
        embodied = embodiments or (lambda _name, number: embody(scenario, number, reality))
        self._site = Site(
            deployment=deployment, state=state, spec=policy_spec(scenario), embody=embodied,
            backend=backend, label=label,
            pulse=pulse, wrappers=wrappers or Wrappers(), heap=self._heap,
            trace=self.trace, ways=ways, ports={EDGE: Port(), CLOUD: Port()}, tell=self._hear,
            note=self._note, poses=poses,
        )  # fmt: skip
        _enter_initial(self._site)
        for name in (CLOUD, EDGE):
            self._build(name)
        phases = np.random.default_rng([seed, _PHASES])
        for name in self._robots:
            self.at(int(phases.integers(self._tick_ns)), partial(self._build, name))

    @property
    def now_ns(self) -> int:
        return self._heap.now_ns

    @property
    def processes(self) -> tuple[str, ...]:
        """The names of all processes, dead or alive."""
        return tuple(self._roles)

    @property
    def nodes(self) -> dict[str, Any]:
        """The nodes of the processes that live, by name."""
        return {name: driver.node for name, driver in self._drivers.items()}

    @property
    def turns(self) -> int:
        """Calls of nodes so far: messages, timers, jobs and ticks."""
        return self._turns + sum(driver.turns for driver in self._drivers.values())

    def at(self, ns: int, call: Callable[[], object]) -> None:
        """Calls at an instant."""
        self._heap.at(ns, call)

    def run(self, until_ns: int) -> None:
        """Lives through everything up to and including `until_ns`."""
        self._heap.run(until_ns)

    def alive(self, name: str) -> bool:
        return name in self._drivers

    def crash(self, name: str) -> None:
        """Kills a process that lives."""
        driver = self._drivers.pop(name, None)
        if driver is not None:
            self._turns += driver.turns
            driver.crash()
            self._note(name, "died", "crashed")

    def restart(self, name: str) -> None:
        """Starts a process again, after a crash if it still lives."""
        self.crash(name)
        self._build(name)

    def hang(self, name: str) -> None:
        if name in self._drivers:
            self._drivers[name].hang()
            self._note(name, "hung", "")

    def resume(self, name: str) -> None:
        if name in self._drivers:
            self._drivers[name].resume()
            self._note(name, "resumed", "")

    def finish(self) -> None:
        """Ends all as a supervisor does: bodies come to rest first, then edge and cloud."""
        bodies = [d for d in self._drivers.values() if isinstance(d, DeviceDriver)]
        for body in bodies:
            body.halt()
        end_ns = self.now_ns + HALT_NS
        while self.now_ns < end_ns and not all(body.at_rest for body in bodies):
            self.run(self.now_ns + self._tick_ns)
        self.run(self.now_ns + DRAIN_NS)
        for name in (*self._robots, EDGE, CLOUD):
            if name in self._drivers:
                driver = self._drivers.pop(name)
                self._turns += driver.turns
                driver.stop()
                self._note(name, "stopped", "exit 0")

    def close(self) -> None:
        """Drops all that lives, as a crash of everything would."""
        for driver in self._drivers.values():
            self._turns += driver.turns
            driver.crash()
        self._drivers.clear()

    def _build(self, name: str) -> None:
        life = "restarted" if self._boots[name] else "started"
        self._boots[name] = boot = max(self.now_ns, self._boots[name]) + 1
        self._drivers[name] = driver = _MAKE[self._roles[name]](self._site, name, boot)
        self._note(name, life, f"boot {boot}")
        driver.start()

    def _ways(self, seed: int) -> dict[tuple[str, str], Way]:
        links = self.deployment.links
        ends: list[tuple[str, str, DirectionSpec]] = []
        for lower, upper, spec in (
            *((robot, EDGE, links.device) for robot in self._robots),
            (EDGE, CLOUD, links.cloud),
        ):
            up, down = spec.directions()
            ends += [(lower, upper, up), (upper, lower, down)]
        return {
            (source, target): Way(
                number,
                LinkModel(direction, np.random.default_rng([seed, _LINKS, number])),
                self._heap,
                self.trace,
            )
            for number, (source, target, direction) in enumerate(ends)
        }

    def _hear(self, report: Report) -> None:
        if report.role == "device":
            self.trace.decided(report)
        for observer in self._observers:
            observer(report)

    def _note(self, name: str, what: str, detail: str) -> None:
        self.events.append(Happening(self.now_ns, name, ROOF, what, detail))


def _enter_initial(site: Site) -> None:
    if initial := site.deployment.policy.initial:
        from tierloop.stack.config.initial_policy import enter

        store = site.state / CLOUD / STORE_FILE
        store.parent.mkdir(parents=True, exist_ok=True)
        enter(Path(initial), site.spec, store)
