"""What do Ray's rollout workers lose against the bare environment on the same cores?

Ours: the cloud's own backend, student acting, segments built and sent back. Baseline: as many plain
processes as workers, side by side, living through the same seeds in the same twin with the same
student.
Both in turn, block by block; the figure is the time of an environment step of a worker.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from tierloop.bench.protocol import Benchmark, Series, by_turns
from tierloop.benchmarks.rig import servers
from tierloop.benchmarks.rig.harness import main
from tierloop.benchmarks.rig.hot import HIDDEN, policy
from tierloop.cloud.config import CloudConfig, LearnerConfig
from tierloop.cloud.ray.cluster import RayBackend
from tierloop.cloud.rollout import Play
from tierloop.contract.budget import Metric
from tierloop.policy.mlp import Mlp
from tierloop.sim.scenario import Scenario
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile
from tierloop.stack.twin import twin_of

DEPLOYMENT = resolve(DeploymentFile(name="benchmark", scenario=Scenario(episode_s=4.0)))
"""Parts for which nobody waits long, as an untrained student sorts none: short blocks."""
TWIN = twin_of(DEPLOYMENT, "benchmark")

WORKERS = 2
EPISODES = 1
"""A worker and block; the same seeds in every block."""

BLOCKS = 9
"""However short the time: a verdict needs eight, and one takes more than a second."""

STEP = Metric("rollout_step", "ms", f"{WORKERS} workers")


def bare(pipe: Connection) -> None:
    """Lives through an episode for each seed that comes through the pipe; answers steps."""
    twin, student = TWIN(), Mlp.random(policy(), HIDDEN, 0).forward
    while True:
        pipe.send(sum(len(twin.live(seed, student, 0).captured_ns) for seed in pipe.recv()))


@contextmanager
def bare_workers() -> Iterator[list[Connection]]:
    """The near ends of the pipes to processes that step."""
    pipes = [multiprocessing.get_context("spawn").Pipe() for _ in range(WORKERS)]
    with ExitStack() as stack:
        for _, far in pipes:
            stack.enter_context(servers.running(bare, far))
        yield [near for near, _ in pipes]


def run(seconds: float) -> list[Series]:
    mlp = Mlp.random(policy(), HIDDEN, 0)
    seeds = [tuple(range(w * EPISODES, (w + 1) * EPISODES)) for w in range(WORKERS)]
    config = CloudConfig(workers=WORKERS, niceness=0)
    with tempfile.TemporaryDirectory() as folder, bare_workers() as pipes:
        backend = RayBackend((policy(), LearnerConfig(), TWIN), config, Path(folder))
        backend.start()

        def bare_block() -> list[float]:
            begun_ns, steps = time.perf_counter_ns(), []
            for pipe, mine in zip(pipes, seeds, strict=True):
                pipe.send(mine)
            for pipe in pipes:
                steps.append(pipe.recv())
            return _each(begun_ns, steps)

        def ray_block() -> list[float]:
            begun_ns = time.perf_counter_ns()
            played = backend.play([Play(mlp, 0, mine) for mine in seeds])
            return _each(begun_ns, [sum(len(s.captured_ns) for s in one) for one in played])

        try:
            ray_block()
            bare_block()
            ours, plain = by_turns(seconds, ray_block, bare_block, least=BLOCKS)
        finally:
            backend.close()
    return [Series(STEP, ours, plain)]


def _each(begun_ns: int, steps: list[int]) -> list[float]:
    """Milliseconds a step, until all were done."""
    return [(time.perf_counter_ns() - begun_ns) / 1e6 / (sum(steps) / len(steps))]


BENCHMARK = Benchmark(
    "rollout",
    "What do Ray's rollout workers lose against the bare environment?",
    "as many plain processes that live through the same seeds",
    (STEP,),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
