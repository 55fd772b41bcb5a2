"""How many robots can one edge serve? Its processor time a decision, and what they wait.

1, 8 and 64 robots ask at once; the edge's batches follow from what has come in. Baseline: a process
that takes what there is on a plain socket as one batch, infers, sends the same bytes back. The
edge's processor time is its own, of all its threads, whatever the robots' process does meanwhile.
"""

from collections.abc import Callable

import numpy as np

from tierloop.bench.protocol import Benchmark, Series, by_turns
from tierloop.bench.statistics import Samples
from tierloop.benchmarks.rig import servers
from tierloop.benchmarks.rig.callgrind import counts, metric
from tierloop.benchmarks.rig.harness import main
from tierloop.benchmarks.rig.hot import Work, observation, policy, serve
from tierloop.benchmarks.rig.robots import BareRobots, Robots
from tierloop.contract.budget import Metric
from tierloop.contract.codec import Codec

COUNTS = (1, 8, 64)
DECISIONS = 512
"""A block, of as many rounds as make it up."""

CPU = {n: Metric("serving_cpu", "us", f"{n} robots", "cpu") for n in COUNTS}
WAIT = {n: Metric("serving_wait", "us", f"{n} robots") for n in COUNTS}
BATCHING = Metric("batching", "us", "8 robots, the bare limit is 1 robot")


def bare_serve() -> Work:
    """The same eight observations read in place, inferred as one batch, their rows as bytes."""
    inputs = policy().observation.size
    asked = [Codec().encode(observation(policy(), 1, f"arm-{i}")) for i in range(8)]
    session, name = servers.bare_session(servers.untrained(0).onnx)

    def work() -> list[bytes]:
        rows = [np.frombuffer(one, np.float32, inputs, len(one) - 4 * inputs) for one in asked]
        (answers,) = session.run(None, {name: np.stack(rows)})
        return [actions.tobytes() for actions in answers]

    return work


COUNTED = {metric("serve", "8 robots"): (serve, bare_serve)}


class AskedServer:
    """One server and its askers; notes the server's processor time beside every block."""

    def __init__(self, server: servers.Served, robots: type[Robots] | type[BareRobots]) -> None:
        self._pid = server.pid
        self._askers = {n: robots(server.address, policy(), n) for n in COUNTS}
        self.cpu_us: dict[int, list[float]] = {n: [] for n in COUNTS}

    def block(self, count: int) -> Callable[[], list[float]]:
        """A measure: the waits of one block."""
        asker, rounds = self._askers[count], DECISIONS // count

        def measure() -> list[float]:
            asker.wake()
            before_ns = servers.cpu_ns(self._pid)
            waited = asker.block(rounds)
            spent_ns = servers.cpu_ns(self._pid) - before_ns
            self.cpu_us[count].append(spent_ns / len(waited) / 1e3)
            return waited

        return measure


def run(seconds: float) -> list[Series]:
    with servers.edge() as edge, servers.bare(batched=True) as bare, servers.asking():
        sides = AskedServer(edge, Robots), AskedServer(bare, BareRobots)
        measures = [side.block(n) for n in COUNTS for side in sides]
        for warm in measures:
            warm()
        for side in sides:
            for spent in side.cpu_us.values():
                spent.clear()
        waited = by_turns(2 * seconds, *measures)
    ours, plain = sides
    series = []
    for i, n in enumerate(COUNTS):
        series.append(Series(CPU[n], _one_each(ours.cpu_us[n]), _one_each(plain.cpu_us[n])))
        series.append(Series(WAIT[n], waited[2 * i], waited[2 * i + 1]))
    series.append(Series(BATCHING, waited[2 * COUNTS.index(8)], waited[2 * COUNTS.index(1)]))
    return series + counts("serving", COUNTED)


def _one_each(figures: list[float]) -> tuple[Samples, ...]:
    """Blocks of one figure each."""
    return tuple(np.array([figure]) for figure in figures)


BENCHMARK = Benchmark(
    "serving",
    "What does a decision cost the edge, and what do 1, 8 and 64 robots wait for it?",
    "a plain ZeroMQ socket that batches what there is around onnxruntime",
    (*CPU.values(), *COUNTED, *WAIT.values(), BATCHING),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
