"""What does a body that differs from its twin cost? Success by lag, bandwidth, strength of drives.

    python -m tierloop.benchmarks.reality

A policy is taught in the twin, which is nominal, and lived by an arm whose drives are not
(`[reality]`, docs/reality.md); its answers come at once, so that nothing else differs.
"""

import argparse
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tierloop.benchmarks.rig import markdown
from tierloop.benchmarks.rig.teach import taught
from tierloop.device.config import DeviceConfig
from tierloop.device.unlinked import Unlinked
from tierloop.policy.artefact import unpack
from tierloop.policy.engine import load
from tierloop.sim.embody import embody
from tierloop.sim.reality import Reality
from tierloop.sim.scenario import Scenario
from tierloop.views.charts import wilson

NOMINAL = ("drive_lag_ms", 0.0)
SWEEP = (
    NOMINAL,
    *(("drive_lag_ms", ms) for ms in (10.0, 25.0, 50.0)),
    *(("drive_bandwidth", times) for times in (0.5, 0.25, 0.1)),
    *(("drive_strength", times) for times in (0.5, 0.35, 0.25)),
)
"""One thing at a time."""
PARTS_A_CELL = 15


class RealArm(NamedTuple):
    """One arm in one cell."""

    name: str
    value: float
    parts: int
    seed: int

    @property
    def reality(self) -> Reality:
        return Reality(**{self.name: self.value})


class SortedParts(NamedTuple):
    arm: RealArm
    successes: int
    actuation_w: float


def arms(parts: int) -> Iterator[RealArm]:
    """What is to be lived through, split among cells."""
    for name, value in SWEEP:
        for first in range(0, parts, PARTS_A_CELL):
            yield RealArm(name, value, min(PARTS_A_CELL, parts - first), first)


def live(arm: RealArm, blob: bytes) -> SortedParts:
    """Lives through an arm's parts in one cell."""
    policy = load(unpack(blob))
    robot = embody(Scenario(horizon=policy.spec.horizon), arm.seed, arm.reality)
    device = Unlinked("arm", 1, robot, DeviceConfig(), "benchmark")
    judged: list[bool] = []
    now_ns, asked = 0, None
    while len(judged) < arm.parts:
        now_ns += robot.body.spec.control_period_ns
        if asked is not None:
            rows = policy.act(asked.features[np.newaxis])[0]
            device.answer(now_ns, asked, rows, policy.version)
        asked = device.tick(now_ns)
        judged += [episode.success for episode in device.reading.outcomes]
    robot.body.close()
    watts = device.node.meter.joules["actuation"] / now_ns * 1e9
    return SortedParts(arm, sum(judged[: arm.parts]), watts)


def line(lived: list[SortedParts], name: str, value: float) -> tuple[str, ...]:
    """Of all cells of one point."""
    cells = [x for x in lived if (x.arm.name, x.arm.value) == (name, value)]
    successes, parts = sum(x.successes for x in cells), sum(x.arm.parts for x in cells)
    low, high = wilson(successes, parts)
    return (
        "nominal" if (name, value) == NOMINAL else f"`{name} = {value:g}`",
        f"{successes}",
        f"{low:.2f} to {high:.2f}",
        f"{np.mean([x.actuation_w for x in cells]):.1f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--policy", type=Path, help="artefact of the sorting cell; else one is taught"
    )
    parser.add_argument("--parts", type=int, default=30, help="parts a point")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    blob = args.policy.read_bytes() if args.policy else taught()
    wanted = list(arms(args.parts))
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool:
        lived = list(pool.map(live, wanted, [blob] * len(wanted)))
    heads = ("`[reality]`", "sorted", "95 %", "joints and drives, W")
    print(markdown.table(heads, (line(lived, *point) for point in SWEEP)))


if __name__ == "__main__":
    main()
