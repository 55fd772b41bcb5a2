"""What does the virtual clock cost: against bare physics, and without physics?

    python -m tierloop.benchmarks.virtual_clock [--policy FILE]

Physics: the sorting cell with a trained policy, the whole stack on the virtual clock. Its baseline:
the same worlds driven along the same setpoints for the same simulated time, with nothing around
them. Events: the stack on the analytic plant, node calls a second. Its baseline: a heap of as many
events that do nothing. Block by block in turn, in processor seconds, so that other load on the
machine hits both alike or not at all.
"""

import argparse
import json
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tierloop.benchmarks.rig.teach import teach
from tierloop.cloud.config import LearnerConfig
from tierloop.cloud.scratch import in_memory
from tierloop.contract.body import Embodiment, Reading
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.specs import Vector
from tierloop.sim.cell import Cell
from tierloop.sim.embody import embody
from tierloop.sim.scenario import Scenario
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile, PolicyConfig
from tierloop.stack.record.summary import host
from tierloop.stack.virtual.heap import Heap
from tierloop.stack.virtual.stack import VirtualStack
from tierloop.stack.virtual.wrappers import Wrappers

PHYSICS_GOAL, EVENTS_GOAL = 0.8, 50_000
WARM_NS = 3 * NS_PER_S
BLOCK_NS = 3 * NS_PER_S
BLOCKS = 8
SEED = 7
PLANTS = 8


class Rates(NamedTuple):
    """One comparison: rates of each block, ours and the baseline's."""

    name: str
    unit: str
    ours: Vector
    bare: Vector
    goal: str

    def line(self) -> str:
        ratio = self.ours / self.bare
        return (
            f"{self.name}: {np.median(self.ours):,.1f} {self.unit}, baseline "
            f"{np.median(self.bare):,.1f}: {np.median(ratio):.2f}x "
            f"(blocks {ratio.min():.2f} to {ratio.max():.2f}); goal {self.goal}"
        )


class Recorded:
    """A cell that keeps what it was told, and when."""

    def __init__(self, cell: Cell) -> None:
        self.spec = cell.spec
        self.hold, self.close, self.tool_position = cell.hold, cell.close, cell.tool_position
        self.told: list[tuple[int, Vector]] = []
        self._cell = cell
        self._read_ns = 0

    def read(self, now_ns: int) -> Reading:
        self._read_ns = now_ns
        return self._cell.read(now_ns)

    def write(self, setpoint: Vector) -> None:
        self.told.append((self._read_ns, setpoint))
        self._cell.write(setpoint)


class Recording(Wrappers):
    """Puts a Recorded around every cell."""

    def __init__(self) -> None:
        self.cells: dict[str, Recorded] = {}

    def embodiment(self, name: str, embodiment: Embodiment) -> Embodiment:
        assert isinstance(embodiment.body, Cell)
        self.cells[name] = Recorded(embodiment.body)
        return embodiment._replace(body=self.cells[name])


class Bare:
    """The same cells again, tick by tick in the same order: the setpoints told, and physics."""

    def __init__(self, scenario: Scenario, seeds: dict[str, int], bodies: "Recording") -> None:
        self._cells = [
            (Cell(scenario, seed), bodies.cells[name].told) for name, seed in seeds.items()
        ]
        self._done = 0
        for cell, told in self._cells:
            cell.advance(told[0][0] - cell.spec.control_period_ns)

    def replay(self) -> None:
        """Takes the cells on through every tick that all of them have had."""
        done = min(len(told) for _, told in self._cells)
        for i in range(self._done, done):
            for cell, told in self._cells:
                read_ns, setpoint = told[i]
                cell.advance(read_ns)
                cell.write(setpoint)
        self._done = done


def physics(policy: Path, folder: Path) -> Rates:
    """Simulated seconds a processor second."""
    deployment = resolve(
        DeploymentFile(
            name="cell",
            seed=SEED,
            learner=LearnerConfig(rounds_max=0),
            policy=PolicyConfig(initial=str(policy)),
        )
    )
    bodies = Recording()
    ours, bare = [], []
    seeds: dict[str, int] = {}

    def make(name: str, seed: int) -> Embodiment:
        seeds[name] = seed
        return embody(deployment.scenario, seed, deployment.reality)

    stack = VirtualStack(deployment, SEED, folder / "state", embodiments=make, wrappers=bodies)
    with closing(stack):
        stack.run(WARM_NS)
        twins = Bare(deployment.scenario, seeds, bodies)
        twins.replay()
        for _ in range(BLOCKS):
            ours.append(_rate(BLOCK_NS / NS_PER_S, partial(stack.run, stack.now_ns + BLOCK_NS)))
            bare.append(_rate(BLOCK_NS / NS_PER_S, twins.replay))
    return Rates(
        "sorting cell", "simulated s/s", np.array(ours), np.array(bare), f"{PHYSICS_GOAL}x"
    )


def events(folder: Path) -> Rates:
    """Node calls a processor second."""
    robots = tuple(f"plant-{i}" for i in range(PLANTS))
    deployment = resolve(
        DeploymentFile(
            name="plants",
            seed=SEED,
            scenario=Scenario(task="reach", body="plant", robots=robots),
            learner=LearnerConfig(rounds_max=0),
        )
    )
    ours, bare = [], []
    with closing(VirtualStack(deployment, SEED, folder / "state")) as stack:
        stack.run(WARM_NS)
        for _ in range(BLOCKS):
            before, begun_s = stack.turns, time.process_time()
            stack.run(stack.now_ns + BLOCK_NS)
            calls = stack.turns - before
            ours.append(calls / (time.process_time() - begun_s))
            bare.append(_rate(calls, partial(_idle_heap, calls)))
    return Rates("no physics", "node calls/s", np.array(ours), np.array(bare), f"{EVENTS_GOAL:,}")


def _idle_heap(count: int) -> None:
    heap = Heap()
    for robot in range(PLANTS):
        _again(heap, robot, count // PLANTS)
    heap.run(1 << 62)


def _again(heap: Heap, step_ns: int, left: int) -> None:
    if left:
        heap.at(heap.now_ns + 1000 + step_ns, partial(_again, heap, step_ns, left - 1))


def _rate(amount: float, work: Callable[[], object]) -> float:
    begun_s = time.process_time()
    work()
    return amount / (time.process_time() - begun_s)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--policy", type=Path, help="a trained artefact; else one is made first")
    args = parser.parse_args()
    with closing(in_memory()) as scratch:
        folder = scratch.path
        policy = args.policy
        if policy is None:
            policy = folder / "policy.artefact"
            policy.write_bytes(teach(Scenario(), told=lambda line: print(line, flush=True)))
        figures = [physics(policy.resolve(), folder / "cell"), events(folder / "plants")]
    machine = host()
    print(f"{machine['processor']}, Python {machine['python']}; medians of {BLOCKS} blocks")
    for figure in figures:
        print(figure.line())
    print(
        json.dumps(
            {
                "machine": machine,
                "figures": [
                    figure._replace(ours=figure.ours.tolist(), bare=figure.bare.tolist())._asdict()
                    for figure in figures
                ],
            }
        )
    )
    met = np.median(figures[0].ours / figures[0].bare) >= PHYSICS_GOAL
    return 0 if met and np.median(figures[1].ours) >= EVENTS_GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
