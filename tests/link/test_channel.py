import multiprocessing
import os
import time
from collections import deque
from zlib import crc32

import numpy as np
import pytest
from msgspec.structs import replace

from contract.codec import Codec
from contract.errors import UserError
from contract.messages import (
    Beat,
    Echo,
    Hello,
    Observation,
    Offer,
    Part,
    Refused,
    Report,
    Stored,
    Welcome,
)
from contract.streams import DEPTH, socket_cap_bytes
from link.channel import Client, Server
from link.session import HELLO_EVERY_NS, REPLACED, SILENCE_NS, State
from link.sockets import (
    ClientSocket,
    Poller,
    ReportSink,
    ReportSource,
    ServerSocket,
    check_free,
    check_loopback,
)
from link.suite import LinkSuite

HELLO = Hello(node="arm", role="device", boot=3, software="0", spec="s")
WELCOME = Welcome(node="edge", boot=9, acked=0)
REPORT = Report(
        process="edge", role="edge", boot=1, at_ns=0, counters={}, gauges={}, labels={},
        decisions=np.zeros((0, 16), np.int64), lateness_ns=np.zeros(0, np.int64),
        outcomes=(), events=(),
)  # fmt: skip


def observation(seq: int) -> Observation:
    return Observation(
        device="arm", boot=3, seq=seq, captured_ns=seq, features=np.zeros(4, np.float32)
    )


class Pipe:
    """One direction of a link that can be stopped."""

    def __init__(self) -> None:
        self.queue: deque = deque()
        self.open = True

    def put(self, item) -> bool:
        if self.open:
            self.queue.append(item)
        return self.open

    def take(self):
        return self.queue.popleft() if self.queue else None


class ClientEnd:
    def __init__(self, up: Pipe, down: Pipe) -> None:
        self.up, self.down = up, down

    def send(self, data) -> bool:
        return self.up.put((b"route", data))

    def receive(self):
        return self.down.take()

    def close(self) -> None:
        pass


class ServerEnd(ClientEnd):
    def send(self, route, data) -> bool:
        return route == b"route" and self.down.put(data)

    def receive(self):
        return self.up.take()


class TestPipe(LinkSuite):
    def make_pair(self):
        up, down = Pipe(), Pipe()
        return ClientEnd(up, down), ServerEnd(up, down)

    def settle(self) -> None:
        pass


class TestSockets(LinkSuite):
    @pytest.fixture(autouse=True)
    def _address(self, address: str) -> None:
        self.address = address

    def make_pair(self):
        server = ServerSocket(self.address)
        client = ClientSocket(self.address)
        end = time.monotonic() + 5
        while not client.send(b"hi") and time.monotonic() < end:
            time.sleep(0.005)
        while server.receive() is None and time.monotonic() < end:
            time.sleep(0.005)
        return client, server

    def settle(self) -> None:
        time.sleep(0.1)


class Rig:
    def __init__(self) -> None:
        self.up, self.down = Pipe(), Pipe()
        self.client = Client(ClientEnd(self.up, self.down), HELLO, "edge")
        self.server = Server(ServerEnd(self.up, self.down))
        self.now = 0

    def open(self) -> "Rig":
        self.client.poll(self.now)
        assert self.server.poll(self.now) == [("arm", HELLO)]
        assert self.server.send("arm", WELCOME)
        assert self.client.poll(self.now) == [("edge", WELCOME)]
        assert self.client.open
        return self


def test_nothing_is_sent_before_the_session_is_open():
    rig = Rig()
    assert not rig.client.send(observation(0))
    assert rig.client.tally.dropped["observation", "closed"] == 1
    assert not rig.server.send("arm", Stored(device="arm", boot=3, below=0))
    rig.client.poll(0)
    rig.server.poll(0)
    assert not rig.server.send("arm", Stored(device="arm", boot=3, below=0))
    assert rig.server.tally.dropped["stored", "closed"] == 2


def test_newest_wins_and_the_replaced_are_counted():
    rig = Rig().open()
    for seq in range(5):
        rig.client.send(observation(seq))
    rig.client.send(Stored(device="arm", boot=3, below=1))
    arrived = rig.server.poll(1)
    assert [type(m) for _, m in arrived] == [Observation, Stored]
    assert arrived[0][1].seq == 4
    assert rig.server.tally.dropped["observation", "superseded"] == 4
    assert rig.server.tally.received[Observation] == 5


def test_a_full_link_drops_the_newest_wins_and_queues_the_rest():
    rig = Rig().open()
    rig.down.open = False
    offers = [Offer(version=v, digest="d", size=1, parents=()) for v in range(DEPTH[Offer] + 2)]
    sent = [rig.server.send("arm", offer) for offer in offers]
    assert sent == [True] * DEPTH[Offer] + [False] * 2
    assert rig.server.tally.dropped["offer", "full"] == 2
    rig.up.open = False
    assert not rig.client.send(observation(1))
    assert rig.client.tally.dropped["observation", "full"] == 1
    assert rig.client.send(Stored(device="arm", boot=3, below=1))
    rig.up.open = rig.down.open = True
    rig.client.poll(1)
    rig.server.poll(1)
    assert [m.version for _, m in rig.client.poll(2)] == list(range(DEPTH[Offer]))


def test_offered_is_sent_plus_dropped_plus_waiting():
    rig = Rig().open()
    offered = 0
    for round_ in range(20):
        rig.up.open = round_ % 3 != 0
        for seq in range(5):
            rig.client.send(observation(seq))
            rig.client.send(Stored(device="arm", boot=3, below=seq))
            offered += 1
        rig.client.poll(round_)
    rig.up.open = True
    rig.client.poll(99)
    tally = rig.client.tally
    for kind, name in ((Observation, "observation"), (Stored, "stored")):
        dropped = sum(n for (stream, _), n in tally.dropped.items() if stream == name)
        assert tally.sent[kind] + dropped == offered


def test_silence_clears_what_waits_and_reopens():
    rig = Rig().open()
    rig.up.open = False
    rig.client.send(Stored(device="arm", boot=3, below=1))
    later = SILENCE_NS + 1
    assert rig.client.lost(later) == ["edge"]
    assert rig.client.lost(later) == []
    assert rig.client.tally.dropped["stored", "lost"] == 1
    assert rig.server.lost(later) == ["arm"]
    rig.up.open = True
    rig.now = later
    rig.open()


def test_a_beat_is_answered_by_the_link_alone():
    rig = Rig().open()
    rig.client.poll(1)
    assert rig.server.poll(2) == []
    assert rig.client.poll(3) == []
    assert rig.client.session.clock.best is not None
    assert rig.client.tally.sent[Beat] == rig.server.tally.sent[Echo] == 1


def framed(data: bytes) -> bytes:
    """With the checksum of a frame that came whole."""
    return data + crc32(data).to_bytes(4, "little")


def test_garbage_is_counted_and_changes_nothing():
    rig = Rig().open()
    rig.up.put((b"route", framed(b"\x02\0\0\0\xff\xff")))
    rig.up.put((b"route", b"\x02\0\0\0\xff\xffjunk"))
    rig.up.put((b"route", b""))
    rig.down.put(framed(b"\x04\0\0\0junk"))
    rig.client.send(observation(1))
    assert [m.seq for _, m in rig.server.poll(1)] == [1]
    rig.client.poll(1)
    assert rig.server.tally.dropped["frames", "malformed"] == 1
    assert rig.server.tally.dropped["frames", "damaged"] == 1
    assert rig.server.tally.dropped["frames", "empty"] == 1
    assert rig.client.tally.counters()["link.frames.dropped.malformed"] == 1


def test_a_client_under_ever_new_names_is_one_client():
    rig = Rig().open()
    codec = Codec()
    for n in range(100):
        rig.up.put((b"route", codec.encode(replace(HELLO, node=f"arm-{n}"))))
    rig.client.send(observation(1))
    assert [(peer, type(m)) for peer, m in rig.server.poll(1)] == [("arm", Observation)]
    assert rig.server.tally.dropped["frames", "renamed"] == 100
    assert rig.server.lost(SILENCE_NS + 2) == ["arm"]


def test_a_flood_does_not_hold_the_caller():
    rig = Rig().open()
    for seq in range(2000):
        rig.client.send(observation(seq))
    assert len(rig.server.poll(1)) == 1
    assert rig.up.queue


def test_a_final_refusal_ends_the_session():
    rig = Rig()
    rig.client.poll(0)
    rig.server.poll(0)
    assert rig.server.send("arm", Refused(reason="spec s is not t", final=True))
    rig.client.poll(1)
    assert rig.client.session.state is State.REFUSED
    rig.client.poll(10 * HELLO_EVERY_NS)
    assert rig.server.poll(2) == []


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ("tcp://0.0.0.0:7000", "only loopback"),
        ("tcp://192.0.2.1:7000", "only loopback"),
        ("ipc:///tmp/x", "expected tcp"),
        ("tcp://127.0.0.1", "expected tcp"),
        ("tcp://127.0.0.1:99999", "out of range"),
        ("nonsense", "expected tcp"),
    ],
)
def test_only_loopback_is_served(bad, word):
    for make in (check_loopback, check_free, ServerSocket, ClientSocket, ReportSource):
        with pytest.raises(UserError, match=word):
            make(bad)


def test_a_port_in_use_is_one_clear_line(address):
    check_free(address)
    server = ServerSocket(address)
    for make in (check_free, ServerSocket):
        with pytest.raises(UserError, match="the port is in use"):
            make(address)
    server.close()


def test_an_oversized_frame_never_reaches_the_program(address):
    server, client = ServerSocket(address), ClientSocket(address)
    end = time.monotonic() + 5
    while not client.send(b"hi") and time.monotonic() < end:
        time.sleep(0.005)
    client.send(bytes(socket_cap_bytes() + 1))
    time.sleep(0.2)
    assert server.receive() is not None
    assert server.receive() is None
    client.close()
    server.close()


def test_reports_reach_the_roof_and_garbage_does_not():
    sink = ReportSink()
    source, stray = ReportSource(sink.address), ClientSocket(sink.address)
    assert source.send(REPORT)
    assert [r.process for r in sink.poll(2000)] == ["edge"]
    assert sink.poll(0) == []
    stray.close()
    source.close()
    sink.close()


def test_the_last_words_of_a_process_reach_the_roof():
    sink = ReportSink()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=last_words, args=(sink.address,))
    process.start()
    assert [r.process for r in sink.poll(20_000)] == ["edge"]
    process.join(10)
    process.close()
    sink.close()


def last_words(address: str) -> None:
    source = ReportSource(address)
    source.send(REPORT)
    source.close()
    os._exit(0)


def test_a_report_queue_is_bounded(address):
    source = ReportSource(address)
    sent = sum(source.send(REPORT) for _ in range(300))
    assert sent < 300
    source.close()


def test_a_wake_ends_one_wait():
    poller = Poller([])
    poller.wake()
    start = time.monotonic()
    poller.wait(5000)
    assert time.monotonic() - start < 4
    poller.wait(200)
    assert time.monotonic() - start >= 0.2
    poller.close()
    poller.wake()


def test_parts_fit_the_cap():
    rig = Rig().open()
    part = Part(digest="d", offset=0, data=np.zeros(64 * 1024, np.uint8))
    assert rig.server.send("arm", part)


def test_what_does_not_fit_its_stream_is_dropped_and_counted():
    rig = Rig().open()
    assert not rig.server.send("arm", Refused(reason="x" * 5000, final=True))
    assert not rig.client.send(Refused(reason="x" * 5000, final=True))
    assert rig.server.tally.dropped["refused", "unfit"] == 1
    assert rig.client.tally.dropped["refused", "unfit"] == 1


def test_a_name_is_taken_over_only_by_whom_the_node_welcomes():
    rig = Rig().open()
    rig.up.put((b"other", rig.client._codec.encode(HELLO)))
    assert rig.server.poll(1) == [("arm", HELLO)]
    assert rig.server.session.find("arm").route == b"other"
    assert not rig.down.queue
    rig.server.send("arm", WELCOME)
    assert rig.client._codec.decode(rig.down.queue.popleft()) == REPLACED


def test_a_late_hello_of_a_life_that_is_over_takes_no_name():
    rig = Rig().open()
    living = rig.server.session.find("arm")
    told = []
    rig.server.transport.send = lambda route, data: told.append((route, data)) or True
    rig.up.put((b"dead", rig.client._codec.encode(replace(HELLO, boot=HELLO.boot - 1))))
    assert rig.server.poll(1) == []
    assert rig.server.session.find("arm") is living
    assert living.open
    assert rig.server.tally.dropped["frames", "outdated"] == 1
    assert told == [(b"dead", rig.client._codec.encode(REPLACED))]
    assert rig.server.tally.sent[Refused] == 1


def test_a_refused_newcomer_leaves_no_trace_at_the_one_before():
    rig = Rig().open()
    rig.up.put((b"other", rig.client._codec.encode(HELLO)))
    rig.server.poll(1)
    rig.server.send("arm", Refused(reason="spec", final=True))
    assert not rig.down.queue
    assert not rig.server._out
    assert not rig.server._ghosts
