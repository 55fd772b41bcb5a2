"""What does a deployment do over wifi, exactly? Age of action, round trip, joules a success.

Twenty seconds of four plants that reach, on the virtual clock: from the seed alone, so that a
commit has one figure, whatever the machine, and its budget is a hard gate. Their policy is the
expert, written down as a network. Baseline: the same over a link that takes no time. Beside it,
what an event on the virtual clock costs, against a heap of as many events that do nothing.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from tierloop.bench.protocol import Benchmark, Series
from tierloop.benchmarks.rig.harness import main
from tierloop.benchmarks.virtual_clock import events
from tierloop.cloud.config import LearnerConfig
from tierloop.cloud.export import export
from tierloop.cloud.scratch import in_memory
from tierloop.contract.budget import Metric
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.link.spec import LinkSpec
from tierloop.policy.artefact import pack
from tierloop.policy.mlp import Mlp
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.sim.tasks.reach import shares
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile, LinksConfig, PolicyConfig
from tierloop.stack.record.folder import audited
from tierloop.stack.record.summary import missed_share
from tierloop.stack.record.tally import first_use_ns, round_trips_ns
from tierloop.stack.record.whole import WholeRecord
from tierloop.stack.virtual.stack import VirtualStack

ROBOTS = ("plant-0", "plant-1", "plant-2", "plant-3")
SCENARIO = Scenario(task="reach", body="plant", robots=ROBOTS)
LIVED_NS = 20 * NS_PER_S
SEED = 7
WIFI = LinkSpec(preset="wifi")
OVER = "4 plants over wifi"

AGE = Metric("first_use_age", "ms", OVER, "virtual")
TRIP = Metric("decision_round_trip", "ms", OVER, "virtual")
MISSED = Metric("missed_ticks", "share", OVER, "virtual")
ENERGY = Metric("energy_per_success", "J", OVER, "virtual")
EVENT = Metric("virtual_event", "us", "8 plants", "cpu")


def expert() -> Mlp:
    """A share of the way to the goal, a row: linear, hence two halves of a relu layer."""
    spec = policy_spec(SCENARIO)
    width = spec.horizon * spec.action.size
    towards = np.zeros((4, spec.horizon, spec.action.size))
    for joint in range(2):
        towards[joint, :, joint] = -shares(spec.horizon)
        towards[2 + joint, :, joint] = shares(spec.horizon)
    flat = towards.reshape(4, width)
    return Mlp(
        spec=spec,
        mean=np.zeros(4, np.float32),
        std=np.ones(4, np.float32),
        weights=(
            np.hstack([np.eye(4), -np.eye(4)]).astype(np.float32),
            np.vstack([flat, -flat]).astype(np.float32),
        ),
        biases=(np.zeros(8, np.float32), np.zeros(width, np.float32)),
        scale=np.ones(width, np.float32),
    )


def live(
    scenario: Scenario, lived_ns: int, link: LinkSpec, policy: Path, folder: Path
) -> tuple[WholeRecord, dict[str, Any]]:
    """What was reported, and its summary."""
    deployment = resolve(
        DeploymentFile(
            name="benchmark",
            seed=SEED,
            scenario=scenario,
            learner=LearnerConfig(rounds_max=0),
            policy=PolicyConfig(initial=str(policy)),
            links=LinksConfig(device=link),
        )
    )
    record = WholeRecord(policy_spec(deployment.scenario))
    stack = VirtualStack(deployment, SEED, folder / "state", observers=[record.take])
    with closing(stack):
        stack.run(lived_ns)
        stack.finish()
    return record, audited(record, deployment, folder)


def run(_seconds: float) -> list[Series]:
    with closing(in_memory()) as scratch:
        folder = scratch.path
        artefact = export(
            expert(), version=0, parents=(), software="benchmark", seed=0, trained_on=(),
            samples={}, metrics={},
        )  # fmt: skip
        policy = folder / "expert.artefact"
        policy.write_bytes(pack(artefact))
        ours, summary = live(SCENARIO, LIVED_NS, WIFI, policy, folder / "wifi")
        bare, ideal = live(SCENARIO, LIVED_NS, LinkSpec(), policy, folder / "ideal")
        speed = events(folder / "events")
    rows, bare_rows = ours.decisions(), bare.decisions()
    return [
        *(
            Series(metric, (of(rows) / NS_PER_MS,), (of(bare_rows) / NS_PER_MS,), exact=True)
            for metric, of in ((AGE, first_use_ns), (TRIP, round_trips_ns))
        ),
        single(MISSED, missed_share(summary["ticks"]), missed_share(ideal["ticks"])),
        single(ENERGY, summary["energy_j"]["per_success"], ideal["energy_j"]["per_success"]),
        Series(EVENT, _each_us(speed.ours), _each_us(speed.bare)),
    ]


def single(metric: Metric, ours: float | None, bare: float | None) -> Series:
    """One figure; none, if there is none, which is no work done."""
    sides = [(np.array([x]),) if x is not None else () for x in (ours, bare)]
    return Series(metric, sides[0], sides[1], exact=True)


def _each_us(rates: np.ndarray) -> tuple[np.ndarray, ...]:
    """Blocks of one figure, from rates a second."""
    return tuple(np.array([1e6 / rate]) for rate in rates)


BENCHMARK = Benchmark(
    "virtual",
    "What does a deployment do over wifi, exactly, and what does an event of it cost?",
    "the same over a link that takes no time; a heap of events that do nothing",
    (AGE, TRIP, MISSED, ENERGY, EVENT),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
