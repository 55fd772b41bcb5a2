"""How much do the tiers add to a decision? Device to edge to device, against the baseline.

Ours: the edge tier's own process, a session, an observation in, an action chunk back. Baseline: a
process that receives the same bytes on a plain ZeroMQ socket, calls onnxruntime on the same
network, and sends the same bytes back. Both are asked in turn, block by block, one at a time.
"""

from collections.abc import Callable

from tierloop.bench.protocol import Benchmark, Series, by_turns
from tierloop.benchmarks.rig import servers
from tierloop.benchmarks.rig.harness import main
from tierloop.benchmarks.rig.hot import policy
from tierloop.benchmarks.rig.robots import BareRobots, Robots
from tierloop.contract.budget import Metric

ROUNDS = 200
"""Decisions a block."""

WARM_UP = 300
ROUND_TRIP = Metric("round_trip", "us", "1 robot")


def run(seconds: float) -> list[Series]:
    spec = policy()
    with servers.edge() as edge, servers.bare(batched=False) as bare, servers.asking():
        sides: tuple[Robots | BareRobots, ...] = (
            Robots(edge.address, spec, 1), BareRobots(bare.address, spec, 1),
        )  # fmt: skip
        for side in sides:
            side.wake()
            side.block(WARM_UP)
        ours, plain = by_turns(seconds, *(block_of(side, ROUNDS) for side in sides))
    return [Series(ROUND_TRIP, ours, plain)]


def block_of(side: Robots | BareRobots, rounds: int) -> Callable[[], list[float]]:
    """A measure: wakes the sessions, then asks."""

    def block() -> list[float]:
        side.wake()
        return side.block(rounds)

    return block


BENCHMARK = Benchmark(
    "round_trip",
    "How much do the tiers add to a decision, one robot, one decision at a time?",
    "a plain ZeroMQ socket around onnxruntime, the same bytes and network",
    (ROUND_TRIP,),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
