"""Faults laid onto the virtual stack: where, when, and exactly again."""

from pathlib import Path

import msgspec
import pytest

from tierloop.contract.clock import NS_PER_S
from tierloop.link.model import Conditions
from tierloop.sim.scenario import policy_spec
from tierloop.stack.config.deployment import load
from tierloop.stack.faults.kinds import (
    ClockDrift,
    ClockStep,
    Crash,
    Delay,
    FullDisk,
    Hang,
    Partition,
    SensorDropout,
    SlowLearner,
)
from tierloop.stack.faults.node import FaultyNode
from tierloop.stack.record.record import Record
from tierloop.stack.virtual.costs import Stretched
from tierloop.stack.virtual.faults import FaultyParts, schedule
from tierloop.stack.virtual.stack import VirtualStack

FILE = Path(__file__).parents[2] / "deployments" / "sorting-cell.toml"
SETS = (
    "scenario.task=reach",
    "scenario.body=plant",
    "cloud.ray=none",
    "learner.min_lived=1000000",
    "links.device.preset=wifi",
)
PAIRS = (("arm-0", "edge"), ("edge", "arm-0"), ("arm-1", "edge"), ("edge", "arm-1"),
         ("edge", "cloud"), ("cloud", "edge"))  # fmt: skip


@pytest.fixture
def make(tmp_path):
    made = []

    def stack(*faults, seed=1):
        deployment = msgspec.structs.replace(load(FILE, SETS), fault=faults)
        record = Record(policy_spec(deployment.scenario))
        made.append(
            VirtualStack(
                deployment, seed, tmp_path / str(len(made)),
                observers=[record.take], wrappers=FaultyParts(deployment),
            )
        )  # fmt: skip
        schedule(made[-1])
        made[-1].record = record
        return made[-1]

    yield stack
    for each in made:
        each.close()


def seconds(stack, until_s):
    stack.run(round(until_s * NS_PER_S))
    return stack


def cut(stack):
    return {ends for ends in PAIRS if stack.links[ends].conditions.cut}


@pytest.mark.parametrize(
    ("target", "direction", "ends"),
    [
        ("arm-0", "both", {("arm-0", "edge"), ("edge", "arm-0")}),
        ("arm-0", "up", {("arm-0", "edge")}),
        ("device", "down", {("edge", "arm-0"), ("edge", "arm-1")}),
        ("cloud", "up", {("edge", "cloud")}),
        ("cloud", "down", {("cloud", "edge")}),
    ],
)
def test_a_partition_is_where_and_when_it_should_be(make, target, direction, ends):
    stack = make(Partition(at_s=1, for_s=0.5, target=target, direction=direction))
    assert cut(seconds(stack, 0.99)) == set()
    assert cut(seconds(stack, 1.0)) == ends
    assert cut(seconds(stack, 1.49)) == ends
    assert cut(seconds(stack, 1.5)) == set()


def test_a_crash_lasts_and_what_overlaps_keeps_it_down(make):
    stack = make(Crash(at_s=1, for_s=1, target="edge"), Crash(at_s=1.5, for_s=2, target="edge"))
    boot = seconds(stack, 0.9).nodes["edge"]._boot
    assert [seconds(stack, s).alive("edge") for s in (1, 2.1, 3.4, 3.6)] == [
        False,
        False,
        False,
        True,
    ]
    assert stack.nodes["edge"]._boot > boot


def test_devices_crash_together_if_so_said(make):
    stack = make(Crash(at_s=1, for_s=1, target="device"))
    assert [seconds(stack, s).alive("arm-1") for s in (0.9, 1.1, 2.1)] == [True, False, True]
    assert stack.alive("edge")


def test_a_hung_edge_keeps_its_sessions_and_sends_no_actions(make):
    stack = make(Hang(at_s=3, for_s=3, target="edge"))
    down = stack.ways["edge", "arm-0"]
    seconds(stack, 3.1)
    before = down.delivered
    seconds(stack, 5.9)
    beats = down.delivered - before
    assert 8 <= beats <= 20, "five echoes a second, no chunk"
    names = [(h.process, h.name) for h in stack.record.happenings]
    seconds(stack, 8)
    assert ("arm-0", "lost") not in names
    hold_s = stack.record.counters("device")["rung_s.hold"]
    assert hold_s > 0.5
    assert all(life.last.labels["rung"] == "edge" for life in stack.record.of("device"))


def test_the_same_seed_and_faults_are_the_same_run(make):
    faults = (
        Delay(at_s=0.5, for_s=1, target="device", delay_ms=40),
        Hang(at_s=1, for_s=0.5, target="edge"),
        Crash(at_s=2, for_s=0.5, target="edge"),
        ClockStep(at_s=1.5, target="arm-0", step_ms=300),
        ClockDrift(at_s=1.5, for_s=1, target="edge", ppm=-200),
        FullDisk(at_s=2.5, for_s=0.5, target="edge"),
        SensorDropout(at_s=3, for_s=0.25, target="arm-1"),
    )
    first, again = (seconds(make(*faults), 4).trace.hexdigest() for _ in range(2))
    other = seconds(make(*faults[1:]), 4).trace.hexdigest()
    assert first == again != other


def test_a_full_disk_keeps_acknowledgements_back(make):
    stack = make(FullDisk(at_s=2, for_s=3, target="edge"))
    acked = seconds(stack, 3).record.counters("device")["segments.acked"]
    during = seconds(stack, 4.9).record.counters("device")
    assert during["segments.acked"] <= acked + 2
    assert during["segments.produced"] > acked + 4
    after = seconds(stack, 12).record.counters("device")
    assert after["segments.acked"] >= after["segments.produced"] - 4
    assert stack.record.counters("edge")["outbox_failures"] > 0


def test_slow_learning_is_charged_so_many_times_over():
    from tierloop.contract.effects import Compute

    class Learner:
        def on_timer(self, now_ns, name):
            return [Compute("fit", lambda: 7, "learn")]

    slow = (
        SlowLearner(at_s=1, for_s=2, target="cloud", factor=3),
        SlowLearner(at_s=2, for_s=2, target="cloud", factor=2),
    )
    node = FaultyNode(Learner(), slow, 0, Stretched)
    factors = []
    for at_s in (0.5, 1, 2.5, 3.5, 4):
        (compute,) = node.on_timer(round(at_s * NS_PER_S), "x")
        assert compute.job() == 7
        factors.append(getattr(compute.job, "factor", 1))
    assert factors == [1, 3, 6, 2, 1]


def test_without_faults_nothing_stands_around_the_nodes(make):
    stack = make()
    assert not any(isinstance(node, FaultyNode) for node in stack.nodes.values())
    assert all(stack.links[ends].conditions == Conditions() for ends in PAIRS)
