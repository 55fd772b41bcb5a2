"""The control loop over a modelled link: frames move between its ticks, and its ticks stay true."""

import threading
import time
from contextlib import closing

import numpy as np
import pytest
from plant import POLICY, embodiment
from ports import free_address

from tierloop.contract.clock import NS_PER_MS, WallClock
from tierloop.contract.messages import Hello, Welcome
from tierloop.device.config import DeviceConfig
from tierloop.device.main import ControlLoop
from tierloop.device.node import DeviceNode
from tierloop.link.channel import Client, Server
from tierloop.link.direction import DirectionSpec
from tierloop.link.model import LinkModel
from tierloop.link.shaped import OneWay, ShapedSocket
from tierloop.link.sockets import ServerSocket
from tierloop.stack.faults.body import FaultyBody
from tierloop.stack.faults.clock import Skew, SkewedClock
from tierloop.stack.faults.kinds import ClockStep

pytestmark = pytest.mark.process

DELAY_MS = 25
SECONDS = 3


class Edge(threading.Thread):
    """Welcomes whoever comes, and notes when what came."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.server = Server(ServerSocket(address))
        self.going = True
        self.start()

    def run(self):
        while self.going:
            for peer, message in self.server.poll(time.monotonic_ns()):
                if isinstance(message, Hello):
                    self.server.send(peer, Welcome(node="edge", boot=1, acked=0))
            time.sleep(0.0005)
        self.server.close()


class Stage:
    def __init__(self, address, delay_ms, clock=None, faults=(), began_ns=0):
        self.edge = Edge(address)
        lanes = [
            OneWay(LinkModel(DirectionSpec(delay_ms=delay_ms), np.random.default_rng(i)))
            for i in (1, 2)
        ]
        robot = embodiment()
        body = FaultyBody(robot.body, faults, began_ns) if faults else robot.body
        robot = robot._replace(body=body)
        self.node = DeviceNode("arm", 7, robot, DeviceConfig(), "test")
        hello = Hello(node="arm", role="device", boot=7, software="t", spec=POLICY.digest)
        self.link = Client(ShapedSocket(address, *lanes), hello, "edge")
        self.loop = ControlLoop(self.node, body, self.link, None, clock)
        self.clock = clock or WallClock()
        self.node.on_start(self.clock.now_ns())

    def tick_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.loop.tick()

    def close(self):
        self.loop.stop()
        self.loop.run()
        self.link.close()
        self.edge.going = False
        self.edge.join(5)


@pytest.fixture(scope="module")
def lived():
    """A loop that has ticked for SECONDS over a link that delays."""
    with closing(Stage(free_address(), DELAY_MS)) as stage:
        stage.tick_for(SECONDS)
        yield stage


def test_a_round_trip_takes_the_link_twice_and_hardly_more(lived):
    """The best of eight echoes: two delays and at most two ticks, not one tick a direction more."""
    assert lived.link.open
    best = lived.link.session.clock.best
    assert best is not None
    assert 2 * DELAY_MS <= best.round_trip_ns / NS_PER_MS < 2 * DELAY_MS + 6


def test_the_loop_keeps_its_deadlines_over_a_modelled_link(lived):
    rate = lived.loop._loop.rate
    assert rate.ticks + rate.missed == pytest.approx(SECONDS * 240, abs=30)
    assert rate.missed < rate.ticks / 8


def test_a_clock_that_leaps_misses_ticks_once_and_goes_on(address):
    """The leap costs the ticks it skipped; then the period is kept again, and sessions open."""
    began_ns = time.monotonic_ns()
    faults = (ClockStep(at_s=1, target="arm", step_ms=500),)
    clock = SkewedClock(Skew(faults, began_ns))
    with closing(Stage(address, 1, clock, faults, began_ns)) as stage:
        stage.tick_for(2.5)
        rate = stage.loop._loop.rate
        assert rate.missed == pytest.approx(120, abs=60)
        assert rate.ticks == pytest.approx(2.5 * 240, abs=80)
        assert stage.link.open
        assert stage.clock.now_ns() - time.monotonic_ns() == pytest.approx(5e8, abs=1e6)
