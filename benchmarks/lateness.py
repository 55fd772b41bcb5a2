"""How punctual is the control loop? Beside a bare loop of absolute deadlines around the same body.

Both run in one process of their own with the device's habits (its core, its priority if allowed),
tick by tick in turn, half a period apart, so that what disturbs the machine disturbs both; the
device's loop is in session with an edge that answers. Lateness is taken the same way for both: the
instant of waking, against the grid of the deadlines.
"""

import multiprocessing
import time
from itertools import pairwise
from multiprocessing.connection import Connection

import numpy as np

from tierloop.bench.protocol import Benchmark, Series
from tierloop.benchmarks.rig import servers
from tierloop.benchmarks.rig.harness import main
from tierloop.contract.body import Body, Embodiment, Reading
from tierloop.contract.budget import Metric
from tierloop.contract.messages import Hello
from tierloop.contract.specs import Vector
from tierloop.device.config import DeviceConfig
from tierloop.device.main import ControlLoop
from tierloop.device.node import DeviceNode
from tierloop.device.rate import Rate
from tierloop.device.realtime import habits, sleep_until
from tierloop.link.channel import Client
from tierloop.link.sockets import ClientSocket
from tierloop.sim.embody import embody
from tierloop.sim.scenario import Scenario

TICKS = 20
"""A block."""

LONGER = 5
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
    """The process: measures in turn and sends the blocks of both."""
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
    rate = Rate(period_ns, bare_start_ns := start_ns + period_ns // 2)
    hold, woken_ns = other.hold(), list[int]()

    def both() -> None:
        loop.tick()
        sleep_until(rate.deadline_ns)
        woken_ns.append(time.monotonic_ns())
        rate.tick(woken_ns[-1])
        other.read(woken_ns[-1])
        other.write(hold)

    end = time.monotonic() + servers.START_S
    while not link.open and time.monotonic() < end:
        both()
    body.read_ns.clear()
    woken_ns.clear()
    end = time.monotonic() + seconds
    while link.open and time.monotonic() < end:
        both()
    ours = late_us(body.read_ns, start_ns, period_ns)
    bare = late_us(woken_ns, bare_start_ns, period_ns)
    to.send((blocks(ours), blocks(bare)) if link.open else None)
    link.close()


def blocks(late: list[float]) -> list[np.ndarray]:
    """Whole blocks of TICKS, in order."""
    whole = len(late) // TICKS
    return list(np.reshape(late[: whole * TICKS], (whole, TICKS)))


def run(seconds: float) -> list[Series]:
    near, far = multiprocessing.get_context("spawn").Pipe()
    with servers.edge() as edge, servers.running(loops, edge.address, LONGER * seconds, far):
        if not near.poll(LONGER * seconds + 2 * servers.START_S):
            raise RuntimeError("the loops do not end")
        measured = near.recv()
    if measured is None:
        raise RuntimeError("the edge does not answer the control loop")
    return [Series(LATENESS, *measured)]


BENCHMARK = Benchmark(
    "lateness",
    "How late are the ticks of the control loop?",
    "a bare loop of absolute deadlines around the same body, in the same process",
    (LATENESS,),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
