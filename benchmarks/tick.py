"""What does the stack itself cost in a control tick? Beside the body's read, physics and write.

The device's node with its rate and the sorting cell's arm, driven as fast as it goes on a clock
that advances one control period a tick; every question is answered in the next, 10 mrad from the
answer before, so that the setpoint fades from one to the next. Timed apart: the body (physics step,
read, write) and everything else. Instructions are those of a tick around a body without physics,
beside a bare tick around the same: physics comes compiled in many ways.
"""

import numpy as np

from tierloop.bench.protocol import Benchmark, Series, by_turns
from tierloop.bench.ticks import Ticks
from tierloop.benchmarks.rig import hot
from tierloop.benchmarks.rig.callgrind import counts, metric
from tierloop.benchmarks.rig.harness import main
from tierloop.contract.budget import Metric
from tierloop.device.config import DeviceConfig
from tierloop.sim.embody import embody
from tierloop.sim.scenario import Scenario

TICKS = 240
"""A block: one second of control."""

ALL, DECIDING = Metric("tick", "us"), Metric("tick", "us", "deciding")


def bare() -> hot.Work:
    """Reads the body, takes a row of a plan, checks and clips it, writes it."""
    spec, body = hot.policy(), hot.Still()
    rows = np.zeros((spec.horizon, spec.action.size), np.float32)
    low, high = np.array(spec.action.low), np.array(spec.action.high)
    now_ns, period_ns = 0, body.spec.control_period_ns

    def work() -> None:
        nonlocal now_ns
        now_ns += period_ns
        reading = body.read(now_ns)
        row = rows[(now_ns - reading.captured_ns) // spec.period_ns].astype(np.float64)
        if not np.isfinite(row).all():
            raise ValueError("not finite")
        body.write(np.minimum(np.maximum(row, low), high))

    return work


COUNTED = {metric("tick"): (hot.fading_tick, bare)}


def run(seconds: float) -> list[Series]:
    robot = embody(Scenario(), seed=1)
    robot.body.read(0)
    loop = Ticks(robot, DeviceConfig())
    loop.block(TICKS)
    loop.clear()
    (own,) = by_turns(seconds, lambda: loop.block(TICKS))
    bodily = tuple(loop.bodily)
    times = [Series(ALL, own, bodily), Series(DECIDING, tuple(loop.deciding), bodily)]
    return times + counts("tick", COUNTED)


BENCHMARK = Benchmark(
    "tick",
    "What does the stack itself cost in a 240 Hz control tick?",
    "the body alone: physics step, read, write; for instructions read, check of a row, write",
    (ALL, DECIDING, *COUNTED),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
