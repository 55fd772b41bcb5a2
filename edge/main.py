"""The edge's process on the wall clock: sockets, disk and shell around one node."""

import signal
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack, closing
from pathlib import Path

from tierloop.contract.clock import Clock, WallClock
from tierloop.contract.effects import Node
from tierloop.contract.errors import UserError, running
from tierloop.contract.messages import Hello
from tierloop.contract.specs import PolicySpec
from tierloop.edge import tables
from tierloop.edge.config import EdgeConfig
from tierloop.edge.node import CLOUD, NAME, EdgeNode
from tierloop.edge.outbox import OUTBOX_FILE, Outbox
from tierloop.link.address import check_address
from tierloop.link.channel import Client, Server
from tierloop.link.reports import ReportSource
from tierloop.link.shell import WallShell
from tierloop.link.sockets import ClientSocket, ServerSocket
from tierloop.policy.pace import require_pace
from tierloop.policy.shelf import Shelf

DRAIN_S = 0.5
"""How long disk and policy jobs may still run when the process is told to end."""


def run(
    *,
    config: EdgeConfig,
    spec: PolicySpec,
    robots: Collection[str] | None,
    bind: str,
    cloud: str,
    state: Path,
    report_to: str | None,
    software: str,
    connect: Callable[[str], ClientSocket] = ClientSocket,
    clock: Clock | None = None,
    wrap: Callable[[Node], Node] | None = None,
    boot: int | None = None,
) -> int:
    """Serves devices at `bind` until SIGTERM or SIGINT, and returns 0.

    `robots` may join, or any if it is None. `state` holds the policies and the outbox; `connect`
    makes the connection to the cloud, `clock` is the host's monotonic one by default, `wrap` may
    put something around the node, `boot` tells this start from every other (by default the wall
    clock says it).
    Raises UserError, before anything is written, if an address is unfit or `bind` is in use; and
    if `state` cannot be written or read.
    """
    check_address(cloud)
    boot = time.time_ns() if boot is None else boot
    with ExitStack() as ends:
        server = ends.enter_context(closing(Server(ServerSocket(bind))))
        node = build(config, spec, robots, state, boot)
        hello = Hello(node=NAME, role=NAME, boot=boot, software=software, spec=spec.digest)
        client = ends.enter_context(closing(Client(connect(cloud), hello, CLOUD)))
        reporter = ends.enter_context(closing(ReportSource(report_to))) if report_to else None
        driven = wrap(node) if wrap else node
        shell = WallShell(driven, clock or WallClock(), server, client, reporter, "a device")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: shell.stop())
        with running():
            shell.run(DRAIN_S)
    return 0


def build(
    config: EdgeConfig,
    spec: PolicySpec,
    robots: Collection[str] | None,
    state: Path,
    boot: int,
) -> EdgeNode:
    """Makes a node with its shelf and outbox under `state`. Raises UserError if that fails."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        shelf = Shelf(state / "policies", spec, pace=require_pace)
    except OSError as error:
        raise UserError(f"{state}: {error.strerror}; choose another directory") from None
    path = state / OUTBOX_FILE
    tables.check(path)
    outbox = Outbox(path, round(config.outbox_mb * 1e6))
    return EdgeNode(config, spec, shelf, outbox, boot, robots)
