"""Siblings of the hostile cases: names, sessions, floods. Held, counted; honest work goes on."""

import numpy as np
import pytest
from benches import CODEC, MS, ROBOTS, Robot, S, beat, cloud, edge, hello
from frames import wire
from plant import POLICY

from tierloop.contract.messages import (
    ActionChunk,
    Beat,
    Echo,
    Fetch,
    Observation,
    Part,
    PolicyStatus,
    Refused,
    Sealed,
    Stored,
    Welcome,
)
from tierloop.link.channel import PEER_BYTES
from tierloop.link.session import PEERS_MAX

FLOOD = 5000


def question(seq=0, device="arm-0", boot=7, features=None):
    if features is None:
        features = np.full(POLICY.observation.size, 0.1, np.float32)
    return Observation(device=device, boot=boot, seq=seq, captured_ns=S + seq, features=features)


def kinds(messages):
    return [type(message) for message in messages]


def test_two_hellos_of_one_name_in_one_poll_leave_one_session(tmp_path):
    bench = edge(tmp_path, 1)
    bench.below.come.append((b"first", CODEC.encode(hello("arm-0", "device"))))
    told = bench.hear(b"second", hello("arm-0", "device"))
    told += [message for route, message in bench.below.gone if route == b"first"]
    assert not any(message.final for message in told if isinstance(message, Refused))
    answered = [
        route
        for route in (b"first", b"second")
        if ActionChunk in kinds(bench.hear(route, question()))
    ]
    assert len(answered) == 1


@pytest.mark.parametrize("pause_ns", [0, 500 * MS], ids=["speaking", "in a pause"])
def test_a_name_with_its_own_boot_over_another_route_goes_back_to_who_speaks(tmp_path, pause_ns):
    bench = edge(tmp_path, 1)
    bench.hear(b"honest", hello("arm-0", "device"))
    bench.step(pause_ns)
    bench.hear(b"thief", hello("arm-0", "device"))
    for seq in range(12):
        said = bench.hear(b"honest", beat(seq), question(seq))
        if any(isinstance(message, Refused) for message in said):
            assert not any(message.final for message in said if isinstance(message, Refused))
            bench.hear(b"honest", hello("arm-0", "device"))
        bench.step(200 * MS)
    assert ActionChunk in kinds(bench.hear(b"honest", question(99)))


def test_ten_thousand_joins_of_one_name_hold_one_session(tmp_path):
    bench = edge(tmp_path, 1)
    for boot in range(10_000):
        bench.hear(b"r%d" % boot, hello("arm-0", "device", boot))
    bench.step(500 * MS)
    bench.hear(b"last", hello("arm-0", "device", 10_000))
    assert bench.report().gauges["devices"] == 1
    assert ActionChunk in kinds(bench.hear(b"last", question(boot=10_000)))
    held = bench.server.session
    assert len(held._by_route) == len(held._by_name) == 1
    assert len(held._claims) <= PEERS_MAX


def test_beats_of_unknown_routes_leave_nothing_behind(tmp_path):
    bench = edge(tmp_path, 1)
    bench.hear(b"honest", hello("arm-0", "device"))
    for number in range(FLOOD):
        assert Echo not in kinds(bench.hear(b"r%d" % number, beat(number)))
        if number % 100 == 0:
            bench.hear(b"honest", beat(number))
    assert len(bench.server.session._by_route) == 1
    assert ActionChunk in kinds(bench.hear(b"honest", beat(1), question()))


@pytest.mark.parametrize(
    "name", ["arm-0 ", "ARM-0", "arm-0\u200b", "arm\u20110", "arm-0/", "edge", "cloud", "roof"]
)
def test_a_name_that_only_looks_like_a_robots_is_nobodys(tmp_path, name):
    bench = edge(tmp_path, 1)
    said = bench.hear(b"r", _claim(name))
    assert Welcome not in kinds(said)
    assert bench.report().gauges["devices"] == 0


def test_who_never_reads_is_held_within_bytes(tmp_path):
    bench = cloud(tmp_path)
    bench.hear(b"r", hello("edge", "edge"))
    bench.below.full = True
    for _ in range(FLOOD):
        bench.hear(b"r", beat(1), Fetch(digest=_digest(bench), offset=0, length=65_536))
    waiting = sum(len(data) for out in bench.server._out.values() for _, data in out._queue)
    assert 0 < waiting <= PEER_BYTES
    assert bench.server.tally.dropped["part", "full"] > 0


def test_a_flood_of_statuses_leaves_a_report_that_fits(tmp_path):
    bench = cloud(tmp_path)
    bench.hear(b"r", hello("edge", "edge"))
    for version in range(FLOOD):
        state = ("active", "refused", "odd")[version % 3]
        status = PolicyStatus(
            node="e", version=version, digest=f"{version:064x}", state=state, reason="x" * 200
        )
        bench.hear(b"r", beat(version), status)
    report = bench.report()
    assert len(report.events) <= 200
    assert len(bench.node.publisher.active) == 1
    assert len(bench.node.publisher._refusals) <= 1 + len(ROBOTS)


def test_a_segment_under_anothers_name_acknowledges_nobody(tmp_path):
    bench = edge(tmp_path, 1)
    for number, robot in enumerate(ROBOTS):
        bench.hear(b"r%d" % number, hello(robot, "device"))
    robot = Robot("arm-0")
    robot.tell(ticks=150)
    theirs = robot.asked(Sealed)
    assert Stored not in kinds(bench.hear(b"r1", theirs))
    assert bench.count("refused.stranger") == 1
    assert bench.count("stored") == 0
    (stored,) = [m for m in bench.hear(b"r0", theirs) if isinstance(m, Stored)]
    assert stored.below == 1


def test_features_of_minus_zero_and_denormals_are_answered_with_numbers(tmp_path):
    bench = edge(tmp_path, 1)
    bench.hear(b"r", hello("arm-0", "device"))
    for seq, value in enumerate((-0.0, 1e-45, -1e-45, 3.4e38, -3.4e38)):
        features = np.full(POLICY.observation.size, value, np.float32)
        for answer in bench.hear(b"r", beat(seq), question(seq, features=features)):
            if isinstance(answer, ActionChunk):
                assert np.isfinite(answer.actions).all()
    assert ActionChunk in kinds(bench.hear(b"r", question(99)))


def test_an_echo_before_any_beat_tells_no_clock():
    robot = Robot()
    robot.wire.gone.clear()
    for stamp in (0, 1, 2**62, 2**63 - 1):
        robot.tell(Echo(seq=99, sent_ns=stamp, received_ns=stamp, echoed_ns=stamp))
    assert robot.link.session.clock.best is None
    robot.tell(robot.echo())
    assert abs(robot.link.session.clock.best.offset_ns) < S


@pytest.mark.parametrize(
    "said",
    [
        lambda n: Welcome(node="w" * 128, boot=n, acked=0),
        lambda n: Refused(reason=f"{n}: " + "y" * 1000, final=True),
        lambda n: Refused(reason=f"{n}", final=False),
        lambda n: Part(digest="0" * 64, offset=n, data=np.zeros(8, np.uint8)),
    ],
    ids=["welcome", "refused for good", "refused", "part"],
)
def test_a_flood_from_its_edge_leaves_a_device_ticking_and_a_report_that_fits(said):
    robot = Robot()
    robot.tell(*map(said, range(FLOOD)))
    robot.report()
    robot.tell(Welcome(node="edge", boot=2**40, acked=0), ticks=100)
    assert isinstance(robot.asked(Observation), Observation)
    assert any(isinstance(message, Beat) for _, message in robot.wire.gone)


def test_segments_that_are_not_there_yet_are_not_stored():
    robot = Robot()
    robot.tell(Stored(device="arm-0", boot=7, below=0, also=tuple(range(5, 200))))
    robot.tell(Stored(device="arm-0", boot=7, below=2**62))
    robot.tell(ticks=400)
    sent = {message.seq for _, message in robot.wire.gone if isinstance(message, Sealed)}
    counters = robot.report().counters
    assert sent >= set(range(int(counters["segments.produced"]) - 1))
    assert counters["segments.acked"] <= counters["segments.produced"]
    assert (
        robot.report().gauges["backlog"]
        == counters["segments.produced"] - counters["segments.acked"]
    )


def _claim(name):
    return wire("hello", [name, "device", 7, "x", POLICY.digest, 1], [])


def _digest(bench):
    return bench.node.publisher.newest.digest


@pytest.mark.parametrize("boot", [2**63, 2**64 - 1])
@pytest.mark.parametrize(
    ("make", "name", "role"), [(edge, "arm-0", "device"), (cloud, "edge", "edge")]
)
def test_a_boot_that_no_ledger_holds_is_refused_and_takes_no_name(tmp_path, make, name, role, boot):
    bench = make(tmp_path, 1) if make is edge else make(tmp_path)
    bench.hear(b"honest", hello(name, role))
    bench.step(500 * MS)
    assert kinds(bench.hear(b"thief", hello(name, role, boot))) == [Refused]
    assert bench.server.session.find(name).route == b"honest"
