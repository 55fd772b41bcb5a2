"""Plants on the virtual clock, for tests: light, and nothing is learnt unless asked for."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tierloop.cloud.config import LearnerConfig
from tierloop.contract.ledger import INDEX
from tierloop.contract.messages import Report
from tierloop.link.spec import LinkSpec
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.stack.config.deployment import Deployment, resolve
from tierloop.stack.config.deployment_file import DeploymentFile, LinksConfig
from tierloop.stack.record.audit import Audit, audit
from tierloop.stack.record.summary import shed
from tierloop.stack.record.tally import first_use_ns
from tierloop.stack.record.whole import WholeRecord
from tierloop.stack.virtual.faults import FaultyParts, schedule
from tierloop.stack.virtual.run import roof
from tierloop.stack.virtual.stack import VirtualStack

S, MS = 1_000_000_000, 1_000_000
WIFI = LinkSpec(preset="wifi")


def plants_file(robots: int = 2, device: LinkSpec = WIFI, **tables: Any) -> DeploymentFile:
    tables = {
        "scenario": Scenario(
            task="reach", body="plant", robots=tuple(f"p-{i}" for i in range(robots))
        ),
        "learner": LearnerConfig(rounds_max=0),
        "links": LinksConfig(device=device),
        **tables,
    }
    return DeploymentFile(name="plants", **tables)


def deployment(robots: int = 2, device: LinkSpec = WIFI, **tables: Any) -> Deployment:
    return resolve(plants_file(robots, device, **tables))


class Watched:
    """A stack, what it reported, and its state on disk."""

    def __init__(self, folder: Path, deployment: Deployment, seed: int) -> None:
        self.folder, self.record = folder, WholeRecord(policy_spec(deployment.scenario))
        self.reports: list[Report] = []
        self.stack = VirtualStack(
            deployment, seed, folder / "state",
            observers=[self._hear], wrappers=FaultyParts(deployment),
        )  # fmt: skip
        schedule(self.stack)

    def _hear(self, report: Report) -> None:
        self.reports.append(report)
        self.record.take(report)

    def run(self, seconds: float) -> None:
        self.stack.run(self.stack.now_ns + round(seconds * S))

    def audit(self) -> Audit:
        """Of a stack that is finished; from then on the record knows what became of processes."""
        self.record.take(roof(self.stack.now_ns, self.stack.events, {}))
        acked = {
            (life.process, life.boot): int(life.last.counters["segments.acked"])
            for life in self.record.of("device")
        }
        return audit(self.folder, acked, shed(self.record.counters("edge")))

    def ages_ms(self, since_ns: int = 0) -> list[float]:
        rows = self.record.decisions()
        return sorted((first_use_ns(rows[rows[:, INDEX["captured_ns"]] >= since_ns]) / MS).tolist())

    def rung_s(self, rung: str) -> float:
        """Seconds that all devices' present lives have spent there, by their nodes."""
        nodes = [self.stack.nodes[n] for n in self.stack.processes if n.startswith("p-")]
        reports = [msgspec.structs.replace(node.report(self.stack.now_ns)) for node in nodes]
        return sum(report.counters[f"rung_s.{rung}"] for report in reports)

    def told(self, process: str) -> list[str]:
        """Names of the events that a process told of, in order."""
        return [e.name for r in self.reports if r.process == process for e in r.events]


@contextmanager
def plants(deployment: Deployment, seed: int = 7) -> Iterator[Watched]:
    with tempfile.TemporaryDirectory() as folder:
        watched = Watched(Path(folder), deployment, seed)
        try:
            yield watched
        finally:
            watched.stack.close()
