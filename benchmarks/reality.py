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
from rich.table import Table

from tierloop.bench.bench_command import console
from tierloop.benchmarks.rig.teach import taught
from tierloop.device.config import DeviceConfig
from tierloop.device.unlinked import Unlinked
from tierloop.policy.artefact import unpack
from tierloop.policy.engine import load
from tierloop.sim.embody import embody
from tierloop.sim.reality import Reality
from tierloop.sim.scenario import Scenario
from tierloop.views.charts import wilson

SWEEP = {
    "drive_lag_ms": (0.0, 10.0, 25.0, 50.0),
    "drive_bandwidth": (1.0, 0.5, 0.25, 0.1),
    "drive_strength": (1.0, 0.5, 0.35, 0.25),
}
"""Each alone; the first of each is nominal."""
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
    for name, values in SWEEP.items():
        for value in values:
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
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("[reality]", "", "sorted", "95 %", "actuation W"):
        table.add_column(title, justify="right" if title else "left")
    for name, values in SWEEP.items():
        for value in values:
            cells = [x for x in lived if x.arm.name == name and x.arm.value == value]
            ok = sum(x.successes for x in cells)
            low, high = wilson(ok, args.parts)
            watts = float(np.mean([x.actuation_w for x in cells]))
            table.add_row(
                name,
                f"{value:g}",
                f"{ok} of {args.parts}",
                f"{low:.2f}-{high:.2f}",
                f"{watts:.1f}",
            )
    console().print(table)


if __name__ == "__main__":
    main()
