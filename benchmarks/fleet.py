"""How long does a policy take from the cloud's release until a hundred bodies act by it, exactly?

A hundred plants in session with one edge over wifi, the cloud behind 5G, on the virtual clock; in
the midst of it the cloud releases a next version, as large as a trained one. Taken for each device:
from the release to the instant at which an answer of the new version first acts. Baseline: the
medians of the same link and hardware models summed, for one device that waits for nothing: offer,
fetch, the blob's bytes, installation, an inference for the hundred, the answer's way.
"""

from contextlib import closing
from pathlib import Path

import numpy as np

from tierloop.bench.protocol import Benchmark, Series
from tierloop.benchmarks.rig.harness import main
from tierloop.benchmarks.virtual import SEED, expert
from tierloop.cloud.config import LearnerConfig
from tierloop.cloud.export import export
from tierloop.cloud.node import CloudNode
from tierloop.cloud.publisher import Release
from tierloop.cloud.scratch import in_memory
from tierloop.contract.budget import Metric
from tierloop.contract.clock import NS_PER_MS
from tierloop.contract.effects import Effects, Node, Timer
from tierloop.contract.ledger import INDEX
from tierloop.contract.messages import Message, Report
from tierloop.edge.config import EdgeConfig
from tierloop.link.direction import DirectionSpec
from tierloop.link.spec import LinkSpec
from tierloop.policy.artefact import digest, pack
from tierloop.policy.mlp import Mlp
from tierloop.policy.work import work
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.stack.config import hardware
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile, LinksConfig, PolicyConfig
from tierloop.stack.virtual.stack import VirtualStack
from tierloop.stack.virtual.wrappers import Wrappers

DEVICES = 100
ROBOTS = tuple(f"plant-{i}" for i in range(DEVICES))
LINKS = LinksConfig(device=LinkSpec(preset="wifi"), cloud=LinkSpec(preset="5g"))
WIDTH = 256
"""Of the two hidden layers, as the learner makes them."""

OLD, NEW = 1, 2
RELEASE_NS = 800 * NS_PER_MS
"""All are in session by then, and act by the version before."""
WATCHED_NS = 1100 * NS_PER_MS
"""From the release on; a device that does not act by it until then counts with all of this."""

OVER = f"{DEVICES} plants over wifi"
PUSH = Metric("fleet_push", "ms", OVER, "virtual")
MISSED = Metric("fleet_missed_ticks", "share", OVER, "virtual")
RELEASE = "benchmark.release"


class Releasing:
    """The cloud's node, with one more timer: at its hour a release is published."""

    def __init__(self, node: CloudNode, release: Release) -> None:
        self._node, self._release = node, release

    def on_start(self, now_ns: int) -> Effects:
        return [*self._node.on_start(now_ns), Timer(RELEASE, RELEASE_NS)]

    def on_timer(self, now_ns: int, name: str) -> Effects:
        if name == RELEASE:
            return self._node.publisher.release(self._release)
        return self._node.on_timer(now_ns, name)

    def on_message(self, now_ns: int, peer: str, message: Message) -> Effects:
        return self._node.on_message(now_ns, peer, message)

    def on_lost(self, now_ns: int, peer: str) -> Effects:
        return self._node.on_lost(now_ns, peer)

    def on_done(self, now_ns: int, name: str, result: object) -> Effects:
        return self._node.on_done(now_ns, name, result)

    def report(self, now_ns: int) -> Report:
        return self._node.report(now_ns)


class Clouds(Wrappers):
    """Puts a Releasing around the cloud."""

    def __init__(self, release: Release) -> None:
        self._release = release

    def node(self, _name: str, node: Node) -> Node:
        return Releasing(node, self._release) if isinstance(node, CloudNode) else node


class Fleet:
    """What the devices reported: when each version first acted on each, and their ticks."""

    def __init__(self, robots: tuple[str, ...]) -> None:
        self._robots = robots
        self.first_ns: dict[tuple[str, int], int] = {}
        self._ticks: dict[str, tuple[float, float]] = {}

    def hear(self, report: Report) -> None:
        if report.role != "device":
            return
        self._ticks[report.process] = report.counters["ticks"], report.counters["missed"]
        rows = report.decisions[report.decisions[:, INDEX["applied_ns"]] > 0]
        for version in (OLD, NEW):
            acted = rows[rows[:, INDEX["policy_version"]] == version, INDEX["applied_ns"]]
            if len(acted):
                self.first_ns.setdefault((report.process, version), int(acted.min()))

    def pushed_ms(self) -> list[float]:
        """From the release to the first act of the new version, a device."""
        end_ns = RELEASE_NS + WATCHED_NS
        idle = [r for r in self._robots if self.first_ns.get((r, OLD), end_ns) >= RELEASE_NS]
        if idle:
            raise RuntimeError(f"did not act by v{OLD} before the release: {', '.join(idle)}")
        acted_ns = (min(self.first_ns.get((robot, NEW), end_ns), end_ns) for robot in self._robots)
        return [(ns - RELEASE_NS) / NS_PER_MS for ns in acted_ns]

    def missed(self) -> float:
        """The share of ticks."""
        ticks, missed = np.sum(list(self._ticks.values()), axis=0)
        return float(missed / (ticks + missed))


def wide(mlp: Mlp) -> Mlp:
    """The same answers from two hidden layers of WIDTH: what was not there before adds nothing."""
    (into, out), (bias, last) = mlp.weights, mlp.biases
    units = into.shape[1]
    through = np.zeros((WIDTH, WIDTH), np.float32)
    through[:units, :units] = np.eye(units)
    weights = (
        np.pad(into, ((0, 0), (0, WIDTH - units))),
        through,
        np.pad(out, ((0, WIDTH - units), (0, 0))),
    )
    biases = (np.pad(bias, (0, WIDTH - units)), np.zeros(WIDTH, np.float32), last)
    return Mlp(mlp.spec, mlp.mean, mlp.std, weights, biases, mlp.scale)


def released(version: int) -> bytes:
    """The artefact of the wide expert under a version."""
    artefact = export(
        wide(expert()), version=version, parents=(version - 1,), software="benchmark", seed=0,
        trained_on=(), samples={}, metrics={},
    )  # fmt: skip
    return pack(artefact)


def modelled_ms(edge: str, size: int) -> float:
    """The baseline for a policy of `size` bytes: medians of the links and the edge's machine."""
    to_cloud, from_cloud = LINKS.cloud.directions()
    _, to_device = LINKS.device.directions()
    jobs = hardware.load(edge).jobs
    ways_ms = 2 * _way_ms(from_cloud) + _way_ms(to_cloud) + _way_ms(to_device)
    assert from_cloud.bandwidth_mbps
    bytes_ms = size * 8 / (from_cloud.bandwidth_mbps * 1e6) * 1e3
    hidden = work(policy_spec(Scenario(task="reach", body="plant")), (WIDTH, WIDTH))
    busy_us = jobs.install.median_us(1) + jobs.infer.us_of(hidden, DEVICES)
    return ways_ms + bytes_ms + busy_us / 1e3


def _way_ms(way: DirectionSpec) -> float:
    return (way.delay_ms or 0.0) + (way.jitter_p50_ms or 0.0)


def push(robots: tuple[str, ...], links: LinksConfig, folder: Path) -> Fleet:
    """Lives through a release with these devices."""
    blob, fleet = released(NEW), Fleet(robots)
    policy = folder / "policy.artefact"
    policy.write_bytes(released(OLD))
    deployment = resolve(
        DeploymentFile(
            name="fleet",
            seed=SEED,
            scenario=Scenario(task="reach", body="plant", robots=robots),
            learner=LearnerConfig(rounds_max=0),
            policy=PolicyConfig(initial=str(policy)),
            links=links,
        )
    )
    clouds = Clouds(Release(NEW, digest(blob), (OLD,), blob))
    state = folder / "state"
    stack = VirtualStack(deployment, SEED, state, observers=[fleet.hear], wrappers=clouds)
    with closing(stack):
        stack.run(RELEASE_NS + WATCHED_NS)
        stack.finish()
    return fleet


def run(_seconds: float) -> list[Series]:
    with closing(in_memory()) as scratch:
        fleet = push(ROBOTS, LINKS, scratch.path)
    bare = np.array([modelled_ms(EdgeConfig().hardware, len(released(NEW)))])
    return [
        Series(PUSH, (np.array(fleet.pushed_ms()),), (bare,), exact=True),
        Series(MISSED, (np.array([fleet.missed()]),), (np.zeros(1),), exact=True),
    ]


BENCHMARK = Benchmark(
    "fleet",
    f"How long from the cloud's release until {DEVICES} devices act by it, and do ticks suffer?",
    "the medians of the modelled links, transfer, installation and inference, summed",
    (PUSH, MISSED),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
