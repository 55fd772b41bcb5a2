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
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from tierloop import __version__
from tierloop.contract.errors import UserError
from tierloop.sim.scenario import policy_spec
from tierloop.stack import screen
from tierloop.stack.config.deployment import Deployment, LinksConfig
from tierloop.stack.faults.kinds import Faults
from tierloop.stack.faults.timeline import own, slowest_rate
from tierloop.stack.wall.crashes import body, clock, connector, wrapper

LIFELINE_GRACE_S = 3.0
"""After the supervisor's death a process has this long to stop before it is killed."""


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


def _device(order: Order) -> int:
    from tierloop.device.main import run
    from tierloop.sim.scenario import embody

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
        connector(deployment, order.name, deployment.links.device, order.seed, began_ns),
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
        connector(deployment, order.name, deployment.links.cloud, order.seed, began_ns),
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
    """One tier: its processes, where it listens, how long it may take to stop, how it runs."""

    names: Callable[[Deployment], tuple[str, ...]]
    bind: Callable[[LinksConfig], str | None]
    grace_s: float
    run: Callable[[Order], int]


# In the order of stopping: bodies come to rest first. All start side by side: no one waits. If none
# stops when told, all are gone after four seconds, and a second is left to join the record.
ROLES: dict[str, Role] = {
    "device": Role(lambda d: d.scenario.robots, lambda _: None, 1.0, _device),
    "edge": Role(lambda _: ("edge",), lambda links: links.device_edge, 0.8, _edge),
    "cloud": Role(lambda _: ("cloud",), lambda links: links.edge_cloud, 2.2, _cloud),
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
        for name in line.names(deployment) if role in roles else ():
            order = Order(
                name=name, role=role, deployment=deployment, out=str(out), report_to=report_to,
                began_ns=began_ns,
            )  # fmt: skip
            encoded, slowest = msgspec.json.encode(order), slowest_rate(order.faults)
            processes.append(
                Process(name, role, line.grace_s, (*command, name), encoded, 1 / slowest)
            )
    return tuple(processes)


def hold_lifeline() -> None:
    """Stops this process when standard input breaks; from then on a thread waits there."""
    threading.Thread(target=_watch_lifeline, name="lifeline", daemon=True).start()


def _watch_lifeline() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LIFELINE_GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


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
