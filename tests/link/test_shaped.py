"""Modelled links between real sockets: what is held is held, and comes when it is due."""

import time

import numpy as np
import pytest

from tierloop.contract.clock import NS_PER_MS
from tierloop.link.direction import DirectionSpec
from tierloop.link.model import Conditions, LinkModel
from tierloop.link.shaped import OneWay, ShapedSocket
from tierloop.link.sockets import NEVER_NS, Poller, ServerSocket
from tierloop.link.suite import LinkSuite

DELAY_MS = 30


def lane(seed=1, changes=(), **values):
    return OneWay(LinkModel(DirectionSpec(**values), np.random.default_rng(seed)), changes)


class Pair:
    def __init__(self, address, up=None, down=None):
        self.server = ServerSocket(address)
        self.client = ShapedSocket(address, up or lane(), down or lane())
        self.poller = Poller([self.client])
        assert self.until(lambda: self.client.send(b"first") and self.server.receive())
        self.drain()

    def drain(self):
        """Lets what is under way come, and takes it."""
        self.until(lambda: False, 0.1)
        while self.server.receive():
            pass

    def until(self, condition, seconds=5.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if result := condition():
                return result
            self.client.pump()
            time.sleep(0.001)
        return None

    def close(self):
        self.poller.close()
        self.client.close()
        self.server.close()


@pytest.fixture
def made(address):
    pairs = []

    def make(**lanes):
        pairs.append(Pair(address, **lanes))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


class TestShapedLink(LinkSuite):
    """A link with a delay passes the suite of every link, given time to settle."""

    @pytest.fixture(autouse=True)
    def _address(self, address):
        self.address = address
        self.pairs = []

    def make_pair(self):
        pair = Pair(
            self.address,
            lane(delay_ms=5, jitter_p50_ms=2, jitter_p90_ms=7, jitter_p99_ms=20),
            lane(delay_ms=5),
        )
        self.pairs.append(pair)
        return pair.client, pair.server

    def settle(self):
        self.pairs[-1].until(lambda: False, 0.3)


def test_a_frame_upwards_is_held_until_it_is_due(made):
    pair = made(up=lane(delay_ms=DELAY_MS))
    sent_ns = time.monotonic_ns()
    assert pair.client.send(b"x")
    assert pair.server.receive() is None
    assert pair.until(lambda: (pair.server.receive() or (0, b""))[1] == b"x")
    assert time.monotonic_ns() - sent_ns >= DELAY_MS * NS_PER_MS


def test_a_frame_downwards_is_held_and_wakes_the_poller_when_due(made):
    """The poller sleeps through the delay and reports the socket though nothing new came in."""
    pair = made(down=lane(delay_ms=DELAY_MS))
    pair.client.send(b"ask")
    route, _ = pair.until(pair.server.receive)
    pair.server.send(route, b"answer")
    assert pair.poller.wait(2000) == [0]
    assert pair.client.receive() is None, "it has come in, and not arrived"
    came_ns = time.monotonic_ns()
    assert pair.client.due_ns - came_ns <= DELAY_MS * NS_PER_MS
    waits = 0
    while (answer := pair.client.receive()) is None:
        pair.poller.wait(2000)
        waits += 1
        assert time.monotonic_ns() - came_ns < 2e9, "the poller was not woken"
    assert answer == b"answer"
    assert time.monotonic_ns() - came_ns >= (DELAY_MS - 1) * NS_PER_MS
    assert pair.client.due_ns == NEVER_NS


def test_conditions_change_at_their_instants(made):
    begin_ns = time.monotonic_ns() + 10**9
    pair = made(up=lane(changes=[(begin_ns, Conditions(cut=True))]))
    pair.client.send(b"before")
    assert pair.until(pair.server.receive)[1] == b"before"
    while time.monotonic_ns() < begin_ns:
        time.sleep(0.01)
    pair.client.send(b"cut")
    assert pair.until(pair.server.receive, 0.2) is None
    assert pair.client.counters()["link.up.dropped.cut"] == 1


def test_a_cut_one_way_leaves_the_other(made):
    pair = made(up=lane(), down=lane(changes=[(0, Conditions(cut=True))]))
    pair.client.send(b"ask")
    route, data = pair.until(pair.server.receive)
    assert data == b"ask"
    pair.server.send(route, b"answer")
    assert pair.until(pair.client.receive, 0.2) is None
    assert pair.client.counters()["link.down.dropped.cut"] == 1


def test_corrupt_and_doubled_frames_arrive_as_such(made):
    pair = made(up=lane(changes=[(0, Conditions(corrupt=1.0, duplicate=1.0))]))
    pair.client.send(bytes(100))
    frames = [pair.until(pair.server.receive)[1] for _ in range(2)]
    assert [sum(byte.bit_count() for byte in frame) for frame in frames] == [1, 1]


def test_what_becomes_due_while_the_server_is_away_is_dropped_and_counted(address):
    client = ShapedSocket(address, lane(), lane())
    assert client.send(b"x")
    assert client.counters()["link.up.dropped.unreachable"] == 1
    assert client.counters()["link.up.carried"] == 1
    client.close()
