"""The cloud's process: one store, one server for the edges, one trainer."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path

from tierloop.cloud.backend import Backend, Hands, SerialBackend
from tierloop.cloud.config import CloudConfig, LearnerConfig
from tierloop.cloud.lineage import PolicyRecord
from tierloop.cloud.node import CloudNode
from tierloop.cloud.opening import opened
from tierloop.cloud.ray.cluster import RayBackend
from tierloop.cloud.rollout import Twin
from tierloop.cloud.store import STORE_FILE
from tierloop.cloud.trainer import Trainer
from tierloop.contract.clock import Clock, WallClock
from tierloop.contract.effects import Node
from tierloop.contract.errors import SpecError, UserError, running
from tierloop.contract.specs import PolicySpec
from tierloop.link.channel import Server
from tierloop.link.reports import ReportSource
from tierloop.link.shell import WallShell
from tierloop.link.sockets import ServerSocket
from tierloop.policy.artefact import ArtefactError
from tierloop.sim.catalogue import expert

DRAIN_S = 0.5
"""How long each lane may go on after the order to stop."""


def run(
    *,
    config: CloudConfig,
    learner: LearnerConfig,
    spec: PolicySpec,
    robots: Collection[str],
    twin: Callable[[], Twin],
    bind: str,
    state: Path,
    seed: int,
    report_to: str | None,
    software: str,
    clock: Clock | None = None,
    wrap: Callable[[Node], Node] | None = None,
    boot: int | None = None,
    begin: Callable[[], PolicyRecord | None] = lambda: None,
) -> int:
    """Runs the cloud until SIGTERM or SIGINT; 0 if it ended well.

    Experience is taken from `robots` alone. `twin` makes a twin world. `state` is the folder of
    what must outlive the process; `clock` is the host's monotonic one by default, `wrap` may put
    something around the node, `boot` tells this start from every other (by default the wall clock
    says it), `begin` gives the first release of a store that has none. A disk that cannot take the
    store is waited for. Raises UserError if `bind` cannot be listened at, a later version wrote the
    store, its newest release cannot be gone on from, or there is no teacher to learn from.
    """
    label = expert(spec) if learner.rounds_max else None
    server = Server(ServerSocket(bind))
    os.setpriority(os.PRIO_PROCESS, 0, max(config.niceness, os.getpriority(os.PRIO_PROCESS, 0)))
    boot = time.time_ns() if boot is None else boot
    clock = clock or WallClock()
    reporter = ReportSource(report_to) if report_to else None
    path = state / STORE_FILE
    store, newest = opened(path, begin, boot, clock, reporter)
    backend = choose(config, (spec, learner, twin), state)
    trainer = Trainer(spec, learner, label, backend, seed, software, boot)
    if newest is not None:
        try:
            trainer.resume(newest, store.policies.next_version())
        except (ArtefactError, SpecError) as error:
            store.close()
            server.close()
            raise UserError(
                f"{path}: cannot continue from release {newest.version}: {error}; use the version "
                "of tierloop that wrote it, or choose another --out"
            ) from None
    node = CloudNode(config, spec, store, trainer, backend, boot, newest, robots)
    driven = wrap(node) if wrap else node
    shell = WallShell(driven, clock, server, None, reporter, "an edge")

    def stop(*_: object) -> None:
        shell.stop()
        backend.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    closing = contextlib.closing
    with running(), closing(store), closing(backend), closing(server):
        shell.run(DRAIN_S)
    if reporter is not None:
        reporter.close()
    return 0


def choose(
    config: CloudConfig, hands: tuple[PolicySpec, LearnerConfig, Callable[[], Twin]], state: Path
) -> Backend:
    """The wiring that `cloud.ray` asks for; `hands` are the arguments of Hands."""
    if config.ray == "none":
        return SerialBackend(Hands(*hands))
    return RayBackend(hands, config, state)
