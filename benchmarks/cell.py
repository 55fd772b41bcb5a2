"""What does a success cost the sorting cell over wifi, in joules, with a trained policy?

A minute of two arms at the conveyor on the virtual clock, with a policy that was taught in the twin
just before. Baseline: the same over a link that takes no time. Exact by the policy: where another
processor fits another one, to the last bit, the figures differ a little.
"""

from contextlib import closing
from typing import Any

from tierloop.bench.protocol import Benchmark, Series
from tierloop.benchmarks.rig.harness import main
from tierloop.benchmarks.rig.teach import taught
from tierloop.benchmarks.virtual import WIFI, live, single
from tierloop.cloud.scratch import in_memory
from tierloop.contract.budget import Metric
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.link.spec import LinkSpec
from tierloop.sim.scenario import Scenario
from tierloop.stack.record.tally import first_use_ns

SCENARIO = Scenario()
LIVED_NS = 60 * NS_PER_S

OVER = "sorting cell over wifi"
ENERGY = Metric("energy_per_success", "J", OVER, "virtual")
FAILED = Metric("failed_episodes", "share", OVER, "virtual")
AGE = Metric("first_use_age", "ms", OVER, "virtual")


def run(_seconds: float) -> list[Series]:
    with closing(in_memory()) as scratch:
        folder = scratch.path
        policy = folder / "policy.artefact"
        policy.write_bytes(taught())
        ours, summary = live(SCENARIO, LIVED_NS, WIFI, policy, folder / "wifi")
        bare, ideal = live(SCENARIO, LIVED_NS, LinkSpec(), policy, folder / "ideal")
    age, least = (first_use_ns(record.decisions()) / NS_PER_MS for record in (ours, bare))
    return [
        single(ENERGY, summary["energy_j"]["per_success"], ideal["energy_j"]["per_success"]),
        single(FAILED, failed(summary), failed(ideal)),
        Series(AGE, (age,), (least,), exact=True),
    ]


def failed(summary: dict[str, Any]) -> float | None:
    """The share of the episodes that ended."""
    success = summary["success"]
    return 1 - success["successes"] / success["episodes"] if success["episodes"] else None


BENCHMARK = Benchmark(
    "cell",
    "What does a success cost the sorting cell over wifi, with a trained policy?",
    "the same over a link that takes no time",
    (ENERGY, FAILED, AGE),
    run,
    long=True,
)

if __name__ == "__main__":
    main(BENCHMARK)
