"""How punctual is the control loop? Beside a bare loop of absolute deadlines around the same body.

Both run in one process of their own with the device's habits (its core, its priority if allowed),
by turns, twenty ticks each; the device's loop is in session with an edge that answers.
Lateness is taken the same way for both: the instant of waking, against the grid of the deadlines.
"""

import multiprocessing
import time
from itertools import pairwise
from multiprocessing.connection import Connection

import numpy as np

from benchmarks import servers
from benchmarks.harness import main
from contract.body import Body, Embodiment, Reading
from contract.messages import Hello
from contract.specs import Vector
from device.config import DeviceConfig
from device.main import ControlLoop
from device.node import DeviceNode
from device.rate import Rate
from device.realtime import habits, sleep_until
from link.channel import Client
from link.sockets import ClientSocket
from sim.scenario import Scenario, embody
from tierloop.bench.protocol import Benchmark, Metric, Series, by_turns

TICKS = 20
"""A block; one more before it finds the grid again."""

LONGER = 3
"""Times as long as others: a tick comes only every 4 ms, and the tail is the question."""

LATENESS = Metric("lateness", "us")


class Watched:
    """A body that notes for which instant it was read: the one at which its loop woke up."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.spec = body.spec
        self.read_ns: list[int] = []

    def read(self, now_ns: int) -> Reading:
        self.read_ns.append(now_ns)
        return self._body.read(now_ns)

    def write(self, setpoint: Vector) -> None:
        self._body.write(setpoint)

    def tool_position(self, position_rad: Vector) -> Vector:
        return self._body.tool_position(position_rad)

    def hold(self) -> Vector:
        return self._body.hold()

    def close(self) -> None:
        self._body.close()


def late_us(read_ns: list[int], start_ns: int, period_ns: int) -> list[float]:
    """Of each read after the first, how long after the deadline that followed the one before."""
    late = []
    for before_ns, now_ns in pairwise(read_ns):
        due_ns = start_ns + ((before_ns - start_ns) // period_ns + 1) * period_ns
        late.append(max(0, now_ns - due_ns) / 1e3)
    return late


def loops(edge: str, seconds: float, to: Connection) -> None:
    """The process: measures by turns and sends the blocks of both."""
    habits(DeviceConfig().realtime, None)
    robot, other = embody(Scenario(), 1), embody(Scenario(), 1).body
    body = Watched(robot.body)
    period_ns = body.spec.control_period_ns
    node = DeviceNode(
        "arm-0", 1, Embodiment(body, robot.perceiver, robot.policy), DeviceConfig(), "benchmark"
    )
    hello = Hello(
        node="arm-0", role="device", boot=1, software="benchmark", spec=robot.policy.digest
    )
    link = Client(ClientSocket(edge), hello, "edge")
    loop = ControlLoop(node, body, link, None)
    start_ns = body.read_ns[0]
    node.on_start(time.monotonic_ns())
    rate = Rate(period_ns, bare_start_ns := time.monotonic_ns())
    hold = other.hold()

    def ours() -> list[float]:
        loop.tick()
        body.read_ns.clear()
        for _ in range(TICKS + 1):
            loop.tick()
        return late_us(body.read_ns, start_ns, period_ns)

    def bare() -> list[float]:
        found: list[int] = []
        for tick in range(TICKS + 2):
            sleep_until(rate.deadline_ns)
            now_ns = time.monotonic_ns()
            rate.tick(now_ns)
            if tick:
                found.append(now_ns)
            other.read(now_ns)
            other.write(hold)
        return late_us(found, bare_start_ns, period_ns)

    ours()
    bare()
    end = time.monotonic() + servers.START_S
    while not link.open and time.monotonic() < end:
        loop.tick()
    to.send(by_turns(seconds, ours, bare) if link.open else None)
    link.close()


def run(seconds: float) -> list[Series]:
    near, far = multiprocessing.get_context("spawn").Pipe()
    with servers.edge() as edge, servers.running(loops, edge.address, LONGER * seconds, far):
        if not near.poll(LONGER * seconds + 2 * servers.START_S):
            raise RuntimeError("the loops do not end")
        blocks = near.recv()
    if blocks is None:
        raise RuntimeError("the edge does not answer the control loop")
    ours, bare = blocks
    return [Series(LATENESS, tuple(map(np.asarray, ours)), tuple(map(np.asarray, bare)))]


BENCHMARK = Benchmark(
    "lateness",
    "How late are the ticks of the control loop?",
    "a bare loop of absolute deadlines around the same body, in the same process",
    (LATENESS,),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
