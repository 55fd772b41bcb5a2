"""The stack's own time in a control tick is that of a robot that acts."""

import time

import pytest
from plant import embodiment

from tierloop.bench.ticks import Ticks
from tierloop.contract.ledger import Rung
from tierloop.device.config import DeviceConfig


def test_the_robot_that_is_timed_acts_on_its_answers():
    loop = Ticks(embodiment(), DeviceConfig())
    own = loop.block(240)
    assert len(own) == len(loop.bodily[0]) == 240
    assert len(loop.deciding[0]) in (20, 21)
    node = loop.device.node
    assert node.arbiter.rung is Rung.EDGE
    counters = node.report(0).counters
    assert not any(n for name, n in counters.items() if name.startswith("refused."))
    loop.block(4)
    assert node.arbiter.plan.fades > 0, "answers differ, so that there is something to fade"


def test_the_bodys_time_is_not_the_stacks(monkeypatch):
    now_ns, robot = 0, embodiment()

    def slow(does, spent_ns):
        def done(given):
            nonlocal now_ns
            now_ns += spent_ns
            return does(given)

        return done

    monkeypatch.setattr(robot.body, "read", slow(robot.body.read, 7000))
    monkeypatch.setattr(robot.body, "write", slow(robot.body.write, 5000))
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now_ns)
    loop = Ticks(robot, DeviceConfig())
    assert loop.block(24) == [0.0] * 24
    assert loop.bodily[0].tolist() == pytest.approx([12.0] * 24)
    loop.clear()
    assert loop.bodily == loop.deciding == []
