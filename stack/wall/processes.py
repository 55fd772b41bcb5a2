"""The process table, and the entry of every process in it.

`python -m tierloop.stack.wall.processes` is what the supervisor starts. One line of JSON, an
Order, comes in on standard input, and one with the boot number of this life; the pipe then stays
open as the lifeline: when it breaks, the supervisor is gone and the process stops. Each role
imports its tier only when it runs, so that a device loads nothing that the device tier could not
install.
"""

import hashlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from tierloop.contract.errors import UserError
from tierloop.contract.version import __version__
from tierloop.link.model import LinkSpec
from tierloop.link.sockets import ClientSocket
from tierloop.sim.scenario import policy_spec
from tierloop.stack import screen
from tierloop.stack.config.deployment import Deployment, LinksConfig
from tierloop.stack.faults.body import body
from tierloop.stack.faults.clock import clock
from tierloop.stack.faults.kinds import Faults
from tierloop.stack.faults.node import wrapper
from tierloop.stack.faults.timeline import own, slowest_rate
from tierloop.stack.lifeline import hold_lifeline
from tierloop.stack.wall.links import connector


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is told: who it is, what to run, where to keep state, where to report."""

    name: str
    role: str
    deployment: Deployment
    out: str
    report_to: str
    began_ns: int = 0
    """When the run began, by the host's monotonic clock: faults count from there."""
    boot: int = 0
    """Tells this life from every other of this name; grows from one to the next."""

    @property
    def faults(self) -> Faults:
        """Those that befall this process itself."""
        return own(self.deployment.fault, self.name, self.deployment.scenario.robots)

    @property
    def software(self) -> str:
        return f"tierloop {__version__}"

    @property
    def state(self) -> Path:
        return Path(self.out) / "state" / self.role

    @property
    def seed(self) -> int:
        """A seed of this process's own, from the deployment's and its name; below 2^31."""
        text = f"{self.deployment.seed}/{self.name}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1


def _connector(order: Order, spec: LinkSpec) -> Callable[[str], ClientSocket]:
    faults, robots = order.deployment.fault, order.deployment.scenario.robots
    return connector(faults, robots, order.name, spec, order.seed, order.began_ns)


def _device(order: Order) -> int:
    from tierloop.device.main import run
    from tierloop.sim.embody import embody

    deployment, faults, began_ns = order.deployment, order.faults, order.began_ns
    embodiment = body(embody(deployment.scenario, order.seed), faults, began_ns)
    cores = sorted(psutil.Process().cpu_affinity())
    return run(
        deployment.device,
        order.name,
        order.boot,
        embodiment,
        deployment.links.device_edge,
        order.report_to,
        order.software,
        cores[deployment.scenario.robots.index(order.name) % len(cores)],
        _connector(order, deployment.links.device),
        clock(faults, began_ns),
    )


def _edge(order: Order) -> int:
    from tierloop.edge.main import run

    deployment, faults, began_ns = order.deployment, order.faults, order.began_ns
    return run(
        deployment.edge,
        policy_spec(deployment.scenario),
        deployment.scenario.robots,
        deployment.links.device_edge,
        deployment.links.edge_cloud,
        order.state,
        order.report_to,
        order.software,
        _connector(order, deployment.links.cloud),
        clock(faults, began_ns),
        wrapper(faults, began_ns),
        order.boot,
    )


def _cloud(order: Order) -> int:
    from tierloop.cloud.lineage import PolicyRecord
    from tierloop.cloud.main import run
    from tierloop.stack.config.initial_policy import first
    from tierloop.stack.twin import twin_of

    deployment = order.deployment
    initial, spec = deployment.policy.initial, policy_spec(deployment.scenario)

    def begin() -> PolicyRecord | None:
        return first(Path(initial), spec) if initial else None

    return run(
        deployment.cloud,
        deployment.learner,
        spec,
        deployment.scenario.robots,
        twin_of(deployment, order.software),
        deployment.links.edge_cloud,
        order.state,
        order.seed,
        order.report_to,
        order.software,
        clock(order.faults, order.began_ns),
        wrapper(order.faults, order.began_ns),
        order.boot,
        begin,
    )


class Role(NamedTuple):
    """One tier: where it listens, how long it may take to stop, how it runs."""

    bind: Callable[[LinksConfig], str | None]
    grace_s: float
    run: Callable[[Order], int]


# In the order of stopping: bodies come to rest first. All start side by side: no one waits. If none
# stops when told, all are gone after four seconds, and a second is left to join the record.
ROLES: dict[str, Role] = {
    "device": Role(lambda _: None, 1.0, _device),
    "edge": Role(lambda links: links.device_edge, 0.8, _edge),
    "cloud": Role(lambda links: links.edge_cloud, 2.2, _cloud),
}


class Process(NamedTuple):
    """One line of the table. It is ready once its first report has come.

    `patience`: how many times as long as others it may be silent.
    """

    name: str
    role: str
    grace_s: float
    command: tuple[str, ...]
    order: bytes
    patience: float = 1.0


def table(
    deployment: Deployment, roles: tuple[str, ...], out: Path, report_to: str, began_ns: int
) -> tuple[Process, ...]:
    """The processes of `roles`, in the order of stopping. Raises UserError if no place is found
    for private sockets."""
    deployment = msgspec.structs.replace(deployment, links=deployment.links.placed(out))
    command = (sys.executable, "-m", "tierloop.stack.wall.processes")
    processes = []
    for role, line in ROLES.items():
        for name in deployment.processes(role) if role in roles else ():
            order = Order(
                name=name, role=role, deployment=deployment, out=str(out), report_to=report_to,
                began_ns=began_ns,
            )  # fmt: skip
            encoded, slowest = msgspec.json.encode(order), slowest_rate(order.faults)
            processes.append(
                Process(name, role, line.grace_s, (*command, name), encoded, 1 / slowest)
            )
    return tuple(processes)


def main() -> int:
    """Runs the one process that standard input orders; its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    screen.install()
    with os.fdopen(os.dup(0), "rb", buffering=0) as pipe:
        line, boot = pipe.readline(), pipe.readline()
    hold_lifeline()
    order = msgspec.json.decode(line, type=Order)
    order = msgspec.structs.replace(order, boot=int(boot))
    try:
        return ROLES[order.role].run(order)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
