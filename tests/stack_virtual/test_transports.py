"""Transports in memory: when a message arrives, what becomes of the others, who is there."""

import numpy as np
import pytest

from tierloop.link.direction import DirectionSpec
from tierloop.link.model import LinkModel
from tierloop.link.suite import LinkSuite
from tierloop.link.virtual import Port, Way
from tierloop.stack.virtual.heap import Heap

MS = 1_000_000


class Ear:
    def __init__(self) -> None:
        self.heard: list[tuple] = []

    def sent(self, way: int, now_ns: int, data: bytes) -> None:
        self.heard.append(("sent", way, now_ns, data))

    def came(self, way: int, now_ns: int) -> None:
        self.heard.append(("came", way, now_ns))


class Rig:
    def __init__(self, **spec: float) -> None:
        self.heap, self.ear, self.port, self.woken = Heap(), Ear(), Port(), []
        models = [LinkModel(DirectionSpec(**spec), np.random.default_rng([1, i])) for i in range(2)]
        self.up, self.down = (Way(i, m, self.heap, self.ear) for i, m in enumerate(models))
        self.server = self.port.listen(lambda: self.woken.append(self.heap.now_ns))
        self.client = self.connect(b"a")

    def connect(self, route: bytes):
        return self.port.connect(route, self.up, self.down, lambda: None)


class TestConformance(LinkSuite):
    def make_pair(self):
        self.rig = Rig(delay_ms=1)
        return self.rig.client, self.rig.server

    def settle(self):
        self.rig.heap.run(self.rig.heap.now_ns + 2 * MS)


def test_a_message_arrives_after_the_delay_and_wakes_the_server():
    rig = Rig(delay_ms=5)
    rig.heap.run(MS)
    assert rig.client.send(b"hello")
    rig.heap.run(6 * MS - 1)
    assert rig.server.receive() is None
    rig.heap.run(6 * MS)
    assert rig.woken == [6 * MS]
    assert rig.server.receive() == (b"a", b"hello")
    assert rig.server.send(b"a", b"back")
    rig.heap.run(11 * MS)
    assert rig.client.receive() == b"back"
    assert rig.ear.heard == [
        ("sent", 0, MS, b"hello"), ("came", 0, 6 * MS), ("sent", 1, 6 * MS, b"back"),
        ("came", 1, 11 * MS),
    ]  # fmt: skip


def test_nobody_at_the_other_end_is_counted_and_a_new_server_knows_no_message_of_old():
    rig = Rig(delay_ms=5)
    rig.client.send(b"one")
    rig.server.close()
    rig.heap.run(10 * MS)
    assert rig.up.unreachable == 1
    again = rig.port.listen(lambda: None)
    assert again.receive() is None
    rig.client.send(b"two")
    rig.heap.run(20 * MS)
    assert again.receive() == (b"a", b"two")


def test_an_old_server_that_closes_late_does_not_shut_out_the_new_one():
    rig = Rig()
    again = rig.port.listen(lambda: None)
    rig.server.close()
    rig.client.send(b"x")
    rig.heap.run(1)
    assert again.receive() == (b"a", b"x")


def test_a_client_that_is_gone_gets_nothing_under_its_old_route():
    rig = Rig(delay_ms=5)
    rig.server.send(b"a", b"under way")
    rig.client.close()
    assert not rig.server.send(b"a", b"too late")
    rig.heap.run(10 * MS)
    assert rig.down.unreachable == 1
    assert rig.client.receive() is None
    assert not rig.server.send(b"nobody", b"x")


@pytest.mark.parametrize("spec", [{"loss": 0.3}, {"duplicate": 0.3}, {"delay_ms": 3}])
def test_every_message_is_accounted_for(spec):
    rig = Rig(**spec)
    for _ in range(500):
        rig.client.send(b"x")
        rig.heap.run(rig.heap.now_ns + MS)
    rig.heap.run(rig.heap.now_ns + 100 * MS)
    counts = rig.client.counters()
    dropped = sum(n for name, n in counts.items() if name.startswith("link.up.dropped."))
    assert counts["link.up.carried"] + dropped == 500
    assert counts["link.up.delivered"] == counts["link.up.carried"] + counts["link.up.duplicated"]
    taken = 0
    while rig.server.receive() is not None:
        taken += 1
    assert taken == counts["link.up.delivered"]


def test_a_corrupt_message_has_one_bit_flipped():
    rig = Rig()
    rig.up.model.conditions.corrupt = 1.0
    rig.client.send(bytes(64))
    rig.heap.run(1)
    _, data = rig.server.receive()
    assert sum(byte.bit_count() for byte in data) == 1
