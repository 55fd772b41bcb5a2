"""What does the stack itself cost in a control tick? Beside the body's read, physics and write.

The device's node with its rate and the sorting cell's arm, driven as fast as it goes on a clock
that advances one control period a tick; every question is answered in the next. Timed apart: the
body (physics step, read, write) and everything else.
"""

from tierloop.bench.protocol import Benchmark, Series, by_turns
from tierloop.bench.ticks import Ticks
from tierloop.benchmarks.rig.harness import main
from tierloop.contract.budget import Metric
from tierloop.device.config import DeviceConfig
from tierloop.sim.embody import embody
from tierloop.sim.scenario import Scenario

TICKS = 240
"""A block: one second of control."""

ALL, DECIDING = Metric("tick", "us"), Metric("tick", "us", "deciding")


def run(seconds: float) -> list[Series]:
    robot = embody(Scenario(), seed=1)
    robot.body.read(0)
    loop = Ticks(robot, DeviceConfig())
    loop.block(TICKS)
    loop.clear()
    (own,) = by_turns(seconds, lambda: loop.block(TICKS))
    bodily = tuple(loop.bodily)
    return [Series(ALL, own, bodily), Series(DECIDING, tuple(loop.deciding), bodily)]


BENCHMARK = Benchmark(
    "tick",
    "What does the stack itself cost in a 240 Hz control tick?",
    "the body alone: physics step, read, write",
    (ALL, DECIDING),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
