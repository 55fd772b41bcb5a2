"""The process table, and the entry of every process in it.

`python -m tierloop.stack.wall.processes` is what the supervisor starts. One line of JSON, an
Order, comes in on standard input, and one with the boot number of this life; the pipe then stays
open as the lifeline: when it breaks, the supervisor is gone and the process stops. Each role
imports its tier only when it runs, so that a device loads nothing that the device tier could not
install.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from tierloop.contract.errors import UserError
from tierloop.link.sockets import ClientSocket
from tierloop.link.spec import LinkSpec
from tierloop.sim.reality import NOMINAL
from tierloop.sim.scenario import policy_spec
from tierloop.stack import screen
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.config.deployment_file import LinksConfig
from tierloop.stack.faults.body import faulty_body
from tierloop.stack.faults.clock import clock
from tierloop.stack.faults.node import wrapper
from tierloop.stack.faults.timeline import slowest_rate
from tierloop.stack.lifeline import hold_lifeline
from tierloop.stack.order import Order
from tierloop.stack.pose_tap import tapped
from tierloop.stack.wall.links import connector


def _connector(order: Order, spec: LinkSpec) -> Callable[[str], ClientSocket]:
    faults, robots = order.deployment.fault, order.deployment.scenario.robots
    return connector(faults, robots, order.name, spec, order.seed, order.began_ns)


def _device(order: Order) -> int:
    from tierloop.device.main import run
    from tierloop.sim.embody import embody

    deployment, faults, began_ns = order.deployment, order.faults, order.began_ns
    robot = embody(deployment.scenario, order.seed, deployment.reality)
    robot, poses = tapped(robot, order.name, order.boot, deployment.record.poses_hz)
    embodiment = faulty_body(robot, faults, began_ns)
    cores = sorted(psutil.Process().cpu_affinity())
    return run(
        config=deployment.device,
        name=order.name,
        boot=order.boot,
        embodiment=embodiment,
        edge=deployment.links.device_edge,
        report_to=order.report_to,
        software=order.software,
        core=cores[deployment.scenario.robots.index(order.name) % len(cores)],
        connect=_connector(order, deployment.links.device),
        clock=clock(faults, began_ns),
        poses=poses,
    )


def _edge(order: Order) -> int:
    from tierloop.edge.main import run

    deployment, faults, began_ns = order.deployment, order.faults, order.began_ns
    return run(
        config=deployment.edge,
        spec=policy_spec(deployment.scenario),
        robots=deployment.scenario.robots,
        bind=deployment.links.device_edge,
        cloud=deployment.links.edge_cloud,
        state=order.state,
        report_to=order.report_to,
        software=order.software,
        connect=_connector(order, deployment.links.cloud),
        clock=clock(faults, began_ns),
        wrap=wrapper(faults, began_ns),
        boot=order.boot,
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
        config=deployment.cloud,
        learner=deployment.learner,
        spec=spec,
        robots=deployment.scenario.robots,
        twin=twin_of(deployment, order.software),
        bind=deployment.links.edge_cloud,
        state=order.state,
        seed=order.seed,
        report_to=order.report_to,
        software=order.software,
        clock=clock(order.faults, order.began_ns),
        wrap=wrapper(order.faults, order.began_ns),
        boot=order.boot,
        begin=begin,
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

    def begin(self, boot: int) -> bytes:
        """What a life of it reads first on standard input: the order, and the boot number."""
        return b"%s\n%d\n" % (self.order, boot)


def table(
    deployment: Deployment, roles: tuple[str, ...], out: Path, report_to: str, began_ns: int
) -> tuple[Process, ...]:
    """The processes of `roles`, in the order of stopping. What the robots really are, devices
    alone are told. Raises UserError if no place is found for private sockets."""
    deployment = msgspec.structs.replace(deployment, links=deployment.links.placed(out))
    supposed = msgspec.structs.replace(deployment, reality=NOMINAL)
    command = (sys.executable, "-m", "tierloop.stack.wall.processes")
    processes = []
    for role, line in ROLES.items():
        for name in deployment.processes(role) if role in roles else ():
            order = Order(
                name=name, role=role, out=str(out), report_to=report_to, began_ns=began_ns,
                deployment=deployment if role == "device" else supposed,
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
