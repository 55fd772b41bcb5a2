"""Every field of every message at both ends and beyond, said to every node: nothing ends."""

from functools import cache

import pytest
from benches import ROBOTS, Robot, S, beat, cloud, edge, hello
from frames import INTS, Frames, resealed
from msgspec import structs
from plant import POLICY

from tierloop.contract.messages import ActionChunk, Echo, Hello, Observation, Welcome

DRAWN = 2500


@cache
def frames(seed, name="arm-0", boot=7):
    """Each field in turn, then drawn ones, by a peer in session under this name."""
    return tuple(_frames(seed, name, boot))


def _frames(seed, name, boot):
    said = Frames(seed, (*ROBOTS, "edge", "cloud"), POLICY)
    said.name, said.boot, said.asked = name, boot, 1
    yield from said.every()
    for n in range(DRAWN):
        frame = said.sealed() if n % 5 == 0 else said.raw() if n % 5 == 1 else said.lie()
        yield resealed(frame, said.rng) if n % 5 == 2 and len(frame) > 8 else frame


def storm(bench, route, opening, seed, name):
    """Says all of it in one session, which a Hello opens again whenever it was lost."""
    bench.hear(route, opening)
    for number, frame in enumerate(frames(seed, name)):
        bench.hear(route, frame)
        if number % 100 == 0:
            bench.step(S // 5)
            bench.hear(route, beat(number), opening)
            bench.report()


@pytest.mark.parametrize("insider", [True, False], ids=["in session", "stranger"])
def test_an_edge_hears_all_of_it_from_below(tmp_path, insider):
    bench = edge(tmp_path, 1)
    storm(bench, b"r", hello("arm-0" if insider else "nobody", "device"), 1, "arm-0")
    answers = bench.hear(b"s", hello("arm-1", "device", 8))
    assert any(isinstance(answer, Welcome) for answer in answers)


def test_an_edge_hears_all_of_it_from_above(tmp_path):
    bench = edge(tmp_path, 1)
    for number, frame in enumerate(frames(2, "edge")):
        bench.told(frame)
        if number % 100 == 0:
            bench.step(S // 5)
            bench.told(Welcome(node="cloud", boot=number, acked=0))
            bench.report()
    assert bench.node.report(bench.now_ns).gauges["policy_version"] == 1


@pytest.mark.parametrize("insider", [True, False], ids=["in session", "stranger"])
def test_a_cloud_hears_all_of_it(tmp_path, insider):
    bench = cloud(tmp_path)
    storm(bench, b"r", hello("edge" if insider else "nobody", "edge"), 3, "edge")
    bench.step(2 * S)
    answers = bench.hear(b"s", hello("edge", "edge", 2**62))
    assert any(isinstance(answer, Welcome) for answer in answers)


def test_a_device_hears_all_of_it():
    robot = Robot()
    for number, frame in enumerate(frames(4)):
        robot.tell(frame)
        if number % 50 == 0:
            robot.tell(Welcome(node="edge", boot=number, acked=0), ticks=20)
            robot.report()
    _still_well(robot)


@pytest.mark.parametrize("field", [f for f in ActionChunk.__struct_fields__ if f != "actions"])
def test_a_device_is_answered_with_one_field_bent(field):
    robot, said = Robot(), Frames(5, ROBOTS, POLICY)
    robot.tell(robot.echo())
    for value in said.ends(ActionChunk, field):
        asked = robot.asked(Observation)
        said.true = robot.answer(asked)
        robot.tell(said.bent(ActionChunk, field, value), ticks=3)
        robot.report()
    _still_well(robot)


@pytest.mark.parametrize("field", ["received_ns", "echoed_ns"])
def test_a_device_whose_beat_is_echoed_with_one_stamp_bent(field):
    robot, said = Robot(), Frames(6, ROBOTS, POLICY)
    for value in INTS:
        said.true = structs.asdict(robot.echo())
        robot.tell(said.bent(Echo, field, value))
        asked = robot.asked(Observation)
        said.true = robot.answer(asked)
        robot.tell(said.bent(ActionChunk, "held_ns", 1), ticks=3)
        robot.report()
    _still_well(robot)


def _still_well(robot):
    robot.tell(Welcome(node="edge", boot=2**40, acked=0), ticks=20)
    counters = robot.report().counters
    assert not any(n for name, n in counters.items() if name.startswith("invariant."))
    assert not isinstance(robot.wire.gone[-1][1], Hello)
