import multiprocessing
import os
import time
from collections import deque
from zlib import crc32

import numpy as np
import pytest
from msgspec.structs import replace

from tierloop.contract.codec import Codec
from tierloop.contract.errors import UserError
from tierloop.contract.messages import (
    Beat,
    Echo,
    Event,
    Hello,
    Observation,
    Offer,
    Part,
    Refused,
    Report,
    Stored,
    Welcome,
)
from tierloop.contract.streams import DEPTH, socket_cap_bytes
from tierloop.link.address import check_address
from tierloop.link.channel import PEER_BYTES, SERVER_BYTES, Client, Server
from tierloop.link.reports import ReportSink, ReportSource
from tierloop.link.session import (
    HELLO_EVERY_NS,
    HELLO_RAREST_NS,
    LIVING_NS,
    REPLACED,
    SILENCE_NS,
    State,
)
from tierloop.link.sockets import ClientSocket, Poller, ServerSocket, check_free
from tierloop.link.suite import LinkSuite

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
        assert self.server.send(self.claim(), WELCOME)
        assert self.client.poll(self.now) == [("edge", WELCOME)]
        assert self.client.open
        return self

    def claim(self) -> str:
        """The label of the one Hello that has come."""
        ((label, hello),) = self.server.poll(self.now)
        assert hello == HELLO
        return label


def test_nothing_is_sent_before_the_session_is_open():
    rig = Rig()
    assert not rig.client.send(observation(0))
    assert rig.client.tally.dropped["observation", "closed"] == 1
    assert not rig.server.send("arm", Stored(device="arm", boot=3, below=0))
    rig.client.poll(0)
    assert not rig.server.send(rig.claim(), Stored(device="arm", boot=3, below=0))
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


def test_a_refused_client_tries_again_more_and_more_rarely_and_is_let_in():
    rig = Rig()
    heard, told = [], []
    for rig.now in range(0, 10 * HELLO_RAREST_NS, HELLO_EVERY_NS):
        rig.client.poll(rig.now)
        for label, _ in rig.server.poll(rig.now):
            heard.append(rig.now)
            rig.server.send(label, Refused(reason="spec s is not t", final=True))
        told += rig.client.poll(rig.now)
        assert rig.client.session.state is State.REFUSED
    assert len(told) == 1, "a reason is told once"
    assert np.diff(heard).tolist() == sorted(np.diff(heard).tolist())
    assert np.diff(heard)[-1] == HELLO_RAREST_NS
    rig.now += HELLO_RAREST_NS
    rig.open()


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ("tcp://0.0.0.0:7000", "only loopback"),
        ("tcp://192.0.2.1:7000", "only loopback"),
        ("ipc://relative", "an absolute path"),
        ("ipc:///" + "x" * 120, "at most 107 bytes"),
        ("tcp://127.0.0.1", "expected tcp"),
        ("tcp://127.0.0.1:99999", "out of range"),
        ("nonsense", "expected tcp"),
    ],
)
def test_only_loopback_is_served(bad, word):
    for make in (check_address, check_free, ServerSocket, ClientSocket, ReportSource):
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
    report = replace(REPORT, counters={})
    sent = sum(source.send(report) for _ in range(300))
    assert sent < 300
    assert report.counters["reports.dropped"] == 300 - sent - 1, "the last one tells of the others"
    source.close()


def test_a_report_too_big_goes_without_its_words_and_is_counted():
    sink = ReportSink()
    source = ReportSource(sink.address)
    rows = np.ones((800, 30), np.int64)
    words = tuple(Event(at_ns=n, name="x", detail="w" * 1024) for n in range(200))
    big = replace(REPORT, counters={}, decisions=rows, events=words)
    assert source.send(big)
    assert source.send(replace(REPORT, counters={}))
    told = sink.poll(2000)
    while len(told) < 2:
        told += sink.poll(2000)
    assert (told[0].decisions == rows).all()
    assert told[0].events == ()
    assert [r.counters["reports.unfit"] for r in told] == [1.0, 1.0]
    hopeless = replace(big, decisions=np.ones((4000, 30), np.int64))
    assert not source.send(hopeless)
    source.close()
    sink.close()


def test_labels_alone_that_are_too_much_cost_no_report():
    sink = ReportSink()
    source = ReportSource(sink.address)
    labels = {f"label {n}": "w" * 1024 for n in range(100)}
    big = replace(REPORT, counters={}, decisions=np.ones((800, 30), np.int64), labels=labels)
    assert source.send(big)
    (told,) = sink.poll(2000)
    assert (told.labels, told.counters["reports.unfit"]) == ({}, 1.0)
    source.close()
    sink.close()


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
    big = Part(digest="d", offset=0, data=np.zeros(128 * 1024, np.uint8))
    assert not rig.server.send("arm", big)
    assert not rig.client.send(big)
    assert rig.server.tally.dropped["part", "unfit"] == 1
    assert rig.client.tally.dropped["part", "unfit"] == 1


def other(rig: Rig, hello: Hello = HELLO, route: bytes = b"other") -> list:
    """Lets a Hello come in over another route; what that route is told goes into the list."""
    told: list = []
    end = rig.server.transport
    honest = type(end).send.__get__(end)
    end.send = lambda r, data: told.append(data) or True if r == route else honest(r, data)
    rig.up.put((route, rig.client._codec.encode(hello)))
    return told


def test_a_name_is_taken_over_only_by_whom_the_node_welcomes():
    rig = Rig().open()
    other(rig)
    rig.now = LIVING_NS + 1
    label = rig.claim()
    assert rig.server.session.find("arm").route == b"route"
    rig.client.send(observation(1))
    assert [peer for peer, _ in rig.server.poll(1)] == ["arm"]
    rig.server.send(label, WELCOME)
    assert rig.server.session.find("arm").route == b"other"
    assert [rig.client._codec.decode(data) for data in rig.down.queue] == [REPLACED]


@pytest.mark.parametrize("boot", [0, HELLO.boot, 2**63 - 1])
def test_a_refused_claim_changes_nothing_for_who_has_the_name(boot):
    rig = Rig().open()
    other(rig, replace(HELLO, boot=boot, role="nobody", spec="wrong"))
    for label, _ in rig.server.poll(1):
        rig.server.send(label, Refused(reason="no device", final=True))
    for rig.now in range(2, 3 * SILENCE_NS, HELLO_EVERY_NS):
        rig.client.poll(rig.now)
        assert rig.server.poll(rig.now) == []
        assert rig.server.lost(rig.now) == rig.client.lost(rig.now) == []
    assert rig.client.open
    assert not rig.server.session._claims


def test_two_claims_in_one_poll_are_answered_each_by_its_own_word():
    rig = Rig()
    rig.client.poll(0)
    told = other(rig, replace(HELLO, boot=2**63 - 1, role="nobody"))
    (mine, _), (theirs, _) = rig.server.poll(0)
    rig.server.send(theirs, Refused(reason="no device", final=True))
    rig.server.send(mine, WELCOME)
    assert rig.client.poll(1) == [("edge", WELCOME)]
    assert [type(rig.client._codec.decode(data)) for data in told] == [Refused]


@pytest.mark.parametrize("specs", [("wrong", "s"), ("s", "wrong")])
def test_a_node_and_its_link_mean_the_same_session_whatever_came_over_one_route(specs):
    """A node that has welcomed somebody takes nobody else's word; its link must mean the same."""
    rig = Rig().open()
    rig.now, node = LIVING_NS + 1, {"arm": HELLO.boot}

    def answer() -> None:
        for peer, message in rig.server.poll(rig.now):
            if isinstance(message, Hello) and message.spec == "s":
                node["arm"] = message.boot
                rig.server.send(peer, WELCOME)
            elif isinstance(message, Hello):
                rig.server.send(peer, Refused(reason="spec", final=True))

    for spec in specs:
        other(rig, replace(HELLO, boot=99, spec=spec))
    answer()
    for _ in range(2 * SILENCE_NS // HELLO_EVERY_NS):
        rig.now += HELLO_EVERY_NS
        rig.server.lost(rig.now)
        rig.client.poll(rig.now)
        answer()
    rig.client.poll(rig.now)
    assert rig.client.open
    assert node["arm"] == HELLO.boot == rig.server.session.find("arm").boot


def test_a_node_that_answers_late_answers_all_the_same():
    rig = Rig()
    labels = set()
    for rig.now in range(0, 5 * HELLO_EVERY_NS, HELLO_EVERY_NS):
        rig.client.poll(rig.now)
        labels.add(rig.claim())
    (label,) = labels
    rig.server.send(label, WELCOME)
    rig.server.send(label, WELCOME)
    assert rig.client.poll(rig.now) == [("edge", WELCOME)]


def test_a_late_hello_of_a_life_that_is_over_takes_no_name():
    rig = Rig().open()
    living = rig.server.session.find("arm")
    told = other(rig, replace(HELLO, boot=HELLO.boot - 1))
    assert rig.server.poll(1) == []
    assert rig.server.session.find("arm") is living
    assert rig.server.tally.dropped["frames", "taken"] == 1
    assert [rig.client._codec.decode(data) for data in told] == [REPLACED]
    assert rig.server.tally.sent[Refused] == 1


def test_who_lost_its_name_has_it_again_once_the_other_is_silent():
    """One Hello of a stranger with the highest boot, in a pause, costs a silence, not a life."""
    rig = Rig().open()
    other(rig, replace(HELLO, boot=2**63 - 1))
    rig.now = LIVING_NS + 1
    rig.server.send(rig.server.poll(rig.now)[0][0], WELCOME)
    assert [type(m) for _, m in rig.client.poll(rig.now)] == [Refused], "the node is told"
    assert not rig.client.open
    for rig.now in range(
        LIVING_NS + 2, LIVING_NS + SILENCE_NS + 2 * HELLO_RAREST_NS, HELLO_EVERY_NS
    ):
        rig.client.poll(rig.now)
        rig.server.lost(rig.now)
        for label, _ in rig.server.poll(rig.now):
            rig.server.send(label, WELCOME)
        rig.client.poll(rig.now)
    assert rig.client.open


def test_what_waits_for_who_does_not_read_is_bounded_in_bytes():
    rig = Rig()
    part = Part(digest="d", offset=0, data=np.zeros(64 * 1024, np.uint8))
    names = [f"e{n}" for n in range(2 * SERVER_BYTES // PEER_BYTES)]
    rig.server.transport.send = lambda route, data: len(data) < 1000
    for name in names:
        rig.up.put((name.encode(), rig.client._codec.encode(replace(HELLO, node=name))))
        rig.server.send(rig.server.poll(0)[0][0], WELCOME)
    for name in names:
        for _ in range(DEPTH[Part]):
            rig.server.send(name, part)
    held = {n: sum(len(data) for _, data in q._queue) for n, q in rig.server._out.items()}
    assert max(held.values()) <= PEER_BYTES
    assert SERVER_BYTES - PEER_BYTES < sum(held.values()) <= SERVER_BYTES
    assert rig.server.tally.dropped["part", "full"] > len(names)
    assert len(rig.server.lost(SILENCE_NS + 1)) == len(names)
    assert rig.server._pool.left == SERVER_BYTES, "what is dropped is given back"
