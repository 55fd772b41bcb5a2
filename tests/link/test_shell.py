import threading
import time
from typing import Any

import numpy as np
import pytest

from tierloop.contract.clock import WallClock
from tierloop.contract.effects import Compute, Effects, Send, Timer
from tierloop.contract.messages import Hello, Message, Observation, Report, Stored, Welcome
from tierloop.link.channel import Client, Server
from tierloop.link.reports import ReportSink, ReportSource
from tierloop.link.shell import WallShell, attempt
from tierloop.link.sockets import ClientSocket, ServerSocket

HELLO = Hello(node="arm", role="device", boot=3, software="0", spec="s")


class Recorder:
    """A node that writes down what happens and answers Hellos."""

    def __init__(self, start: Effects | None = None) -> None:
        self.log: list[Any] = []
        self.start = start or []

    def on_start(self, now_ns: int) -> Effects:
        return self.start

    def on_message(self, now_ns: int, peer: str, message: Message) -> Effects:
        self.log.append(message)
        if isinstance(message, Hello):
            return [Send(peer, Welcome(node="edge", boot=1, acked=0))]
        if isinstance(message, Observation):
            return [Timer("serve", now_ns)]
        if isinstance(message, Welcome):
            return [Send("edge", Stored(device="arm", boot=3, below=4))]
        return []

    def on_lost(self, now_ns: int, peer: str) -> Effects:
        self.log.append(("lost", peer))
        return []

    def on_timer(self, now_ns: int, name: str) -> Effects:
        self.log.append(("timer", name))
        return []

    def on_done(self, now_ns: int, name: str, result: Any) -> Effects:
        self.log.append(("done", name, result))
        return []

    def report(self, now_ns: int) -> Report:
        return Report(
            process="edge", role="edge", boot=1, at_ns=now_ns, counters={"x": 1.0}, gauges={},
            labels={}, decisions=np.zeros((0, 16), np.int64),
            lateness_ns=np.zeros(0, np.int64), outcomes=(), events=(),
        )  # fmt: skip


def until(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.005)


class Running:
    def __init__(self, shell: WallShell) -> None:
        self.shell = shell
        self.thread = threading.Thread(target=shell.run, daemon=True)

    def __enter__(self) -> WallShell:
        self.thread.start()
        return self.shell

    def __exit__(self, *_: object) -> None:
        self.shell.stop()
        self.thread.join(5)
        assert not self.thread.is_alive()


def test_two_nodes_meet_over_real_sockets(address):
    server_node, client_node, sink = Recorder(), Recorder(), ReportSink()
    server = Server(ServerSocket(address))
    client = Client(ClientSocket(address), HELLO, "edge")
    reporter = ReportSource(sink.address)
    up = WallShell(server_node, WallClock(), server=server, reporter=reporter)
    down = WallShell(client_node, WallClock(), client=client)
    with Running(up):
        with Running(down):
            until(lambda: any(isinstance(m, Stored) for m in server_node.log))
        client.close()
        until(lambda: ("lost", "arm") in server_node.log)
    reports = sink.poll(3000)
    assert reports
    assert reports[-1].counters["x"] == 1.0
    assert reports[-1].counters["link.hello.received"] >= 1
    server.close()
    reporter.close()
    sink.close()


def test_timers_jobs_and_lanes():
    here = threading.current_thread

    def broken() -> None:
        raise OSError("disk full")

    start: Effects = [
        Timer("soon", 0),
        Timer("moved", 10**18),
        Timer("moved", 0),
        Compute("inline", lambda: here().name),
        Compute("aside", lambda: here().name, lane="disk"),
        Compute("broken", broken, lane="disk"),
    ]
    node = Recorder(start)
    with Running(WallShell(node, WallClock())) as shell:
        until(lambda: len(node.log) == 5)
        del shell
    done = {entry[1]: entry[2] for entry in node.log if entry[0] == "done"}
    assert done["aside"] == "lane-disk"
    assert done["inline"] != "lane-disk"
    assert isinstance(done["broken"], OSError)
    assert [e for e in node.log if e[0] == "timer"] == [("timer", "soon"), ("timer", "moved")]


def test_timers_that_are_due_together_come_by_time_and_a_moved_one_not_at_all():
    class Moves(Recorder):
        def on_timer(self, now_ns: int, name: str) -> Effects:
            super().on_timer(now_ns, name)
            return [Timer("moved", now_ns + 10**15)] if name == "first" else []

    node = Moves([Timer("moved", 3), Timer("second", 2), Timer("first", 1)])
    with Running(WallShell(node, WallClock())):
        until(lambda: len(node.log) >= 2)
        time.sleep(0.02)
    assert node.log == [("timer", "first"), ("timer", "second")]


def test_what_a_lane_holds_is_finished_before_the_end():
    node = Recorder([Compute("slow", lambda: time.sleep(0.2) or 7, lane="disk")])
    with Running(WallShell(node, WallClock())):
        time.sleep(0.05)
    assert node.log == [("done", "slow", 7)]


def test_all_that_came_together_is_served_together(address):
    """Observations of two devices in one turn lead to one serve timer, after both."""
    node = Recorder()
    server = Server(ServerSocket(address))
    clients = [
        Client(
            ClientSocket(address),
            Hello(node=name, role="device", boot=1, software="0", spec="s"),
            "edge",
        )
        for name in ("a", "b")
    ]
    shell = WallShell(node, WallClock(), server=server)
    with Running(shell):
        for client in clients:
            until(lambda c=client: c.poll(time.monotonic_ns()) is not None and c.open)
    node.log.clear()
    for name, client in zip("ab", clients, strict=True):
        client.send(
            Observation(device=name, boot=1, seq=0, captured_ns=0, features=np.zeros(1, np.float32))
        )
    time.sleep(0.1)
    shell._turn([0])
    assert [type(e).__name__ for e in node.log] == ["Observation", "Observation", "tuple"]
    for client in clients:
        client.close()
    server.close()


def test_attempt_returns_what_went_wrong():
    assert attempt(lambda: 1) == 1
    assert isinstance(attempt(lambda: 1 / 0), ZeroDivisionError)
    with pytest.raises(KeyboardInterrupt):
        attempt(lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
