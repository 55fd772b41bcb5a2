"""What do Ray's rollout workers lose against the bare environment on the same cores?

Ours: the cloud's own backend, student acting, segments built and sent back. Bare: as many plain
processes as workers, side by side, stepping the same seeds with a setpoint that stands still.
Both in turn, block by block; the figure is environment steps a second and worker. Beside it, from
the record of a run: the share of its time that the cloud spent waiting rather than in a round.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import in_turn, percentiles, show, verdict
from cloud.cluster import RayBackend
from cloud.config import CloudConfig, LearnerConfig
from cloud.rollout import Play
from policy.mlp import Mlp
from sim.scenario import Scenario, policy_spec


def bare(conn: Any) -> None:
    """Steps episodes for the seeds that come through the pipe; answers steps and seconds."""
    from sim.env import SortEnv

    env = SortEnv(Scenario())
    while (seeds := conn.recv()) is not None:
        steps, start_ns = 0, time.perf_counter_ns()
        for seed in seeds:
            observation, _ = env.reset(seed=seed)
            action = np.append(observation[:7], 0.0).astype(np.float32)
            done = False
            while not done:
                _, _, terminated, truncated, _ = env.step(action)
                done = terminated or truncated
                steps += 1
        conn.send((steps, (time.perf_counter_ns() - start_ns) / 1e9))


def waiting(record: Path | None) -> str:
    """One line on how the cloud of `record`, by default the newest run, spent its time."""
    records = (
        [record] if record else sorted(Path("runs").glob("*"), key=lambda r: r.stat().st_mtime)
    )
    if not records or not (records[-1] / "summary.json").exists():
        return "no record to read the waiting from: `make demo` first, or name one by --record DIR"
    cloud = json.loads((records[-1] / "summary.json").read_text())["cloud"]
    spent = ", ".join(f"{phase} {s:.1f} s" for phase, s in cloud["phase_s"].items())
    return f"{records[-1]}: the cloud waited {cloud['waiting_share']:.0%} of its time ({spent})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--episodes", type=int, default=6, help="a worker and block")
    parser.add_argument("--record", type=Path, help="of a run; by default the newest in runs/")
    args = parser.parse_args()
    config = CloudConfig(workers=args.workers, niceness=0)
    policy = Mlp.random(policy_spec(Scenario()), (256, 256), 0)
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(args.workers)]
    processes = [context.Process(target=bare, args=(end,), daemon=True) for _, end in pipes]
    for process in processes:
        process.start()
    seeds = [tuple(range(w * args.episodes, (w + 1) * args.episodes)) for w in range(args.workers)]

    def bare_block() -> list[float]:
        for (near, _), mine in zip(pipes, seeds, strict=True):
            near.send(mine)
        return [steps / seconds for steps, seconds in (near.recv() for near, _ in pipes)]

    with tempfile.TemporaryDirectory() as folder:
        backend = RayBackend((Scenario(), LearnerConfig(), "benchmark"), config, Path(folder))
        backend.start()

        def ray_block() -> list[float]:
            start_ns = time.perf_counter_ns()
            played = backend.play([Play(policy, 0, mine) for mine in seeds])
            seconds = (time.perf_counter_ns() - start_ns) / 1e9
            return [sum(len(s.captured_ns) for s in segments) / seconds for segments in played]

        ray_block()
        bare_block()
        ours, plain = in_turn(args.blocks, ray_block, bare_block)
        backend.close()
    for near, _ in pipes:
        near.send(None)
    for process in processes:
        process.join(5)
    show(
        f"environment steps a second and worker, {args.workers} workers",
        {
            "Ray rollout worker": percentiles(np.concatenate(ours)),
            "bare environment": percentiles(np.concatenate(plain)),
        },
        "1/s",
        [verdict("a worker's", ours, plain, 50), waiting(args.record)],
    )


if __name__ == "__main__":
    main()
