"""What does the stack itself cost in a control tick? Beside the body's read, physics and write.

The device's node with its rate and the sorting cell's arm, driven as fast as it goes on a clock
that advances one control period a tick; every observation is answered at once. Timed apart: the
body (physics step, read, write) and everything else.
"""

import time

import numpy as np

from tierloop.bench.protocol import Benchmark, Series, by_turns
from tierloop.benchmarks.rig.harness import main
from tierloop.benchmarks.rig.hot import chunk
from tierloop.contract.budget import Metric
from tierloop.contract.clock import ManualClock
from tierloop.contract.effects import Send
from tierloop.contract.messages import ActionChunk, Observation, Sealed, Stored
from tierloop.device.config import DeviceConfig
from tierloop.device.node import DeviceNode
from tierloop.device.rate import Rate
from tierloop.sim.embody import embody
from tierloop.sim.scenario import Scenario

TICKS = 240
"""A block: one second of control."""

ALL, DECIDING = Metric("tick", "us"), Metric("tick", "us", "deciding")


class Loop:
    """A control loop that does not wait."""

    def __init__(self) -> None:
        robot = embody(Scenario(), seed=1)
        self._body, self._spec = robot.body, robot.policy
        self._node = DeviceNode("arm-0", 1, robot, DeviceConfig(), "benchmark")
        self._clock, self._rate = ManualClock(), Rate(self._body.spec.control_period_ns, 0)
        self._node.on_start(0)
        self._body.read(0)
        self._answers: list[ActionChunk | Stored] = []

    def tick(self) -> tuple[float, float, bool]:
        """Own and bodily microseconds, and whether the tick decided."""
        node, body = self._node, self._body
        now_ns = self._clock.advance(body.spec.control_period_ns)
        begun = time.perf_counter_ns()
        self._rate.tick(now_ns)
        for answer in self._answers:
            node.on_message(now_ns, "edge", answer)
        linked = time.perf_counter_ns()
        reading = body.read(now_ns)
        read = time.perf_counter_ns()
        setpoint, effects = node.on_tick(now_ns, reading)
        chosen = time.perf_counter_ns()
        body.write(setpoint)
        written = time.perf_counter_ns()
        node.on_written(now_ns)
        sent = [effect.message for effect in effects if isinstance(effect, Send)]
        for message in sent:
            node.on_sent(now_ns, message, 200)
        ended = time.perf_counter_ns()
        self._answers = [a for m in sent if (a := self._answer(m)) is not None]
        own = (linked - begun) + (chosen - read) + (ended - written)
        return own / 1e3, ((read - linked) + (written - chosen)) / 1e3, bool(effects)

    def report(self) -> None:
        """What the shell asks for once a second."""
        self._node.report(self._clock.now_ns())

    def _answer(self, message: object) -> ActionChunk | Stored | None:
        if isinstance(message, Observation):
            return chunk(self._spec, message)
        if isinstance(message, Sealed):
            return Stored(device="arm-0", boot=1, below=message.seq + 1)
        return None


def run(seconds: float) -> list[Series]:
    loop = Loop()
    bodily: list[np.ndarray] = []
    deciding: list[np.ndarray] = []

    def block() -> list[float]:
        ticks = [loop.tick() for _ in range(TICKS)]
        loop.report()
        bodily.append(np.array([body for _, body, _ in ticks]))
        deciding.append(np.array([own for own, _, decides in ticks if decides]))
        return [own for own, _, _ in ticks]

    block()
    bodily.clear()
    deciding.clear()
    (own,) = by_turns(seconds, block)
    return [Series(ALL, own, tuple(bodily)), Series(DECIDING, tuple(deciding), tuple(bodily))]


BENCHMARK = Benchmark(
    "tick",
    "What does the stack itself cost in a 240 Hz control tick?",
    "the body alone: physics step, read, write",
    (ALL, DECIDING),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
