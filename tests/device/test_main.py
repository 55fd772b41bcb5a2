"""The control loop as a real process against a real edge's socket."""

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
from plant import POLICY, embodiment

from tierloop.contract.ledger import INDEX
from tierloop.contract.messages import (
    ActionChunk,
    Hello,
    Observation,
    Refused,
    Report,
    Sealed,
    Welcome,
)
from tierloop.device.config import DeviceConfig
from tierloop.device.main import ControlLoop, run
from tierloop.device.node import DeviceNode
from tierloop.device.realtime import habits
from tierloop.link.channel import Client, Server
from tierloop.link.reports import ReportSink
from tierloop.link.sockets import ClientSocket, ServerSocket


def robot(edge: str, report_to: str) -> None:
    code = run(
        config=DeviceConfig(hold_s=0.3, realtime=False),
        name="arm",
        boot=7,
        embodiment=embodiment(),
        edge=edge,
        report_to=report_to,
        software="test",
    )
    raise SystemExit(code)


class Stage:
    """A device process, an edge played by the test, and the roof's sink."""

    def __init__(self, address: str) -> None:
        self.sink = ReportSink()
        self.address = address
        self.server: Server | None = Server(ServerSocket(address))
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=robot, args=(address, self.sink.address))
        self.process.start()
        self.reports: list[Report] = []
        self.seen: list = []

    def play(self, seconds: float, refuse: bool = False, answer: bool = True) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.reports += self.sink.poll(1)
            if self.server is None:
                continue
            now_ns = time.monotonic_ns()
            self.server.lost(now_ns)
            for peer, message in self.server.poll(now_ns):
                self.seen.append(message)
                if isinstance(message, Hello):
                    welcome = Welcome(node="edge", boot=1, acked=0)
                    no = Refused(reason="spec differs", final=True)
                    self.server.send(peer, no if refuse else welcome)
                elif isinstance(message, Observation) and answer:
                    self.server.send(peer, chunk(message))

    def until(self, condition, seconds: float = 20.0, **how) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "not in time"
            self.play(0.05, **how)

    def close(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join(5)
        self.process.close()
        if self.server is not None:
            self.server.close()
        self.sink.close()


@pytest.fixture
def stage(address: str):
    stage = Stage(address)
    yield stage
    stage.close()


def chunk(observation: Observation) -> ActionChunk:
    rows = np.full((8, 3), 0.2, np.float32)
    return ActionChunk.answering(observation, POLICY, rows, 3, held_ns=1, compute_ns=1)


def seconds_in(stage: Stage, rung: str) -> float:
    return stage.reports[-1].counters[f"rung_s.{rung}"] if stage.reports else 0.0


def test_it_acts_holds_stops_and_acts_again_and_never_waits(stage, address):
    stage.until(lambda: seconds_in(stage, "edge") > 0.5)
    assert any(isinstance(m, Sealed) for m in stage.seen)
    assert stage.server is not None
    stage.server.close()
    stage.server = None
    stage.until(lambda: seconds_in(stage, "stop") > 0.3)
    before = seconds_in(stage, "edge")
    stage.server = Server(ServerSocket(address))
    stage.until(lambda: seconds_in(stage, "edge") > before + 0.5)
    assert stage.process.pid is not None
    os.kill(stage.process.pid, signal.SIGTERM)
    stage.until(lambda: not stage.process.is_alive())
    assert stage.process.exitcode == 0
    stage.play(0.2)
    last = stage.reports[-1].counters
    assert last["ticks"] + last["missed"] >= 240 * 1.5
    assert last["invariant.stale_action"] == last["invariant.action_order"] == 0
    rows = np.concatenate([r.decisions for r in stage.reports])
    assert (np.diff(rows[:, INDEX["seq"]]) == 1).all()
    lateness = np.concatenate([r.lateness_ns for r in stage.reports])
    assert len(lateness) == last["ticks"]
    names = {e.name for r in stage.reports for e in r.events}
    assert {"realtime", "session", "policy", "lost"} <= names


def test_heartbeats_do_not_keep_a_hung_policy_alive(stage):
    stage.until(lambda: seconds_in(stage, "edge") > 0.3)
    stage.until(lambda: seconds_in(stage, "stop") > 0.3, answer=False)
    assert not [e for r in stage.reports for e in r.events if e.name == "lost"]


def test_a_refused_device_says_so_and_ends(stage):
    stage.until(lambda: not stage.process.is_alive(), refuse=True)
    assert stage.process.exitcode == 2
    stage.play(0.2)
    refusals = [e.detail for r in stage.reports for e in r.events if e.name == "refused"]
    assert refusals == ["spec differs"]


def test_habits_are_recorded_as_got_or_refused(monkeypatch):
    import gc

    monkeypatch.setattr(gc, "disable", lambda: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    assert habits(False, 0) == {"gc": "frozen"}

    def no(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", no)
    monkeypatch.setattr(os, "sched_setaffinity", no)
    monkeypatch.setattr("tierloop.device.realtime._lock_memory", no)
    got = habits(True, 0)
    assert "refused" in got["scheduler"]
    assert "refused" in got["affinity"]
    assert "refused" in got["memory"]
    assert got["timer_slack"] == "1 ns"


@pytest.mark.process
def test_a_device_alone_holds_and_ends_when_told(address, monkeypatch):
    """In this process: no edge, no roof; SIGTERM brings it to rest."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("tierloop.device.main.habits", lambda *_: {})
    robot = embodiment()
    sink = ReportSink()
    timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    try:
        code = run(
            config=DeviceConfig(hold_s=0.3),
            name="arm",
            boot=7,
            embodiment=robot,
            edge=address,
            report_to=sink.address,
            software="test",
        )
    finally:
        timer.join()
        signal.signal(signal.SIGTERM, before)
    assert code == 0
    last = sink.poll(2000)[-1]
    sink.close()
    assert last.labels["rung"] == "stop"
    assert last.counters["ticks"] + last.counters["missed"] >= 240
    assert last.counters["link.observation.dropped.closed"] >= 20
    assert np.ptp(np.array(robot.body.writes), axis=0).max() == 0.0


def test_a_loop_over_a_link_acts_and_sends(address):
    """The loop's own steps, tick by tick, with an edge on the other end of a real socket."""
    robot, server = embodiment(), Server(ServerSocket(address))
    node = DeviceNode("arm", 7, robot, DeviceConfig(), "test")
    hello = Hello(node="arm", role="device", boot=7, software="t", spec=POLICY.digest)
    link = Client(ClientSocket(address), hello, "edge")
    loop = ControlLoop(node, robot.body, link, None)
    node.on_start(time.monotonic_ns())
    end = time.monotonic() + 20
    while node.arbiter.chunk is None:
        assert time.monotonic() < end, "no chunk acted"
        loop.tick()
        for peer, message in server.poll(time.monotonic_ns()):
            if isinstance(message, Hello):
                server.send(peer, Welcome(node="edge", boot=1, acked=0))
            elif isinstance(message, Observation):
                server.send(peer, chunk(message))
    server.close()
    while link.open:
        assert time.monotonic() < end, "the silence was not noticed"
        loop.tick()
    loop.stop()
    loop.run()
    link.close()
