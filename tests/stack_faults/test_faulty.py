"""Faults inside a process: clocks, sensors, hangs, full disks, slow learning."""

import sqlite3
import time
from itertools import pairwise

import numpy as np
import pytest
from plant import embodiment

from tierloop.contract.body import Scan
from tierloop.contract.effects import Compute, Send, Timer
from tierloop.contract.messages import Beat, Report, SegmentId
from tierloop.edge.outbox import Outbox, Parcel
from tierloop.edge.triage import Priority
from tierloop.stack.faults.body import FaultyBody
from tierloop.stack.faults.clock import Skew
from tierloop.stack.faults.kinds import (
    ClockDrift,
    ClockStep,
    FullDisk,
    Hang,
    SensorDropout,
    SensorFreeze,
    SlowLearner,
)
from tierloop.stack.faults.node import HELD_MAX, FaultyNode, on_a_full_disk

S = 1_000_000_000
BEGAN = 1_000 * S


def test_a_clock_without_faults_is_true():
    skew = Skew((), BEGAN)
    assert [skew.own_ns(t) for t in (0, 7, 10**18 + 1)] == [0, 7, 10**18 + 1]
    assert skew.true_ns(10**18 + 1) == 10**18 + 1


def test_a_step_leaps_ahead_and_stays():
    skew = Skew((ClockStep(at_s=2, target="edge", step_ms=1500),), BEGAN)
    assert skew.own_ns(BEGAN + 2 * S - 1) == BEGAN + 2 * S - 1
    assert skew.own_ns(BEGAN + 2 * S) == BEGAN + 3.5 * S
    assert skew.own_ns(BEGAN + 9 * S) == BEGAN + 10.5 * S
    assert skew.true_ns(BEGAN + 10.5 * S) == BEGAN + 9 * S
    assert skew.true_ns(BEGAN + 3 * S) == BEGAN + 2 * S, "within the leap"


def test_a_drift_gathers_an_error_that_stays():
    skew = Skew((ClockDrift(at_s=1, for_s=10, target="edge", ppm=200),), BEGAN)
    assert skew.own_ns(BEGAN + 6 * S) - (BEGAN + 6 * S) == 1_000_000
    assert skew.own_ns(BEGAN + 11 * S) - (BEGAN + 11 * S) == 2_000_000
    assert skew.own_ns(BEGAN + 99 * S) - (BEGAN + 99 * S) == 2_000_000


def test_a_clock_never_goes_back_and_there_and_back_is_the_same():
    skew = Skew(
        (
            ClockDrift(at_s=1, for_s=4, target="edge", ppm=-400_000),
            ClockDrift(at_s=3, for_s=4, target="edge", ppm=-400_000),
            ClockStep(at_s=3.5, target="edge", step_ms=1),
        ),
        BEGAN,
    )
    true = range(BEGAN, BEGAN + 9 * S, 12_345_679)
    own = [skew.own_ns(t) for t in true]
    assert all(b > a for a, b in pairwise(own))
    assert all(abs(skew.true_ns(o) - t) <= 5 for o, t in zip(own, true, strict=True))


class Scanned:
    """The plant with a scan in each reading, its time set back on every read."""

    def __init__(self):
        self._body = embodiment().body
        self.spec = self._body.spec
        self.tool_position, self.write = self._body.tool_position, self._body.write
        self.hold, self.close = self._body.hold, self._body.close
        self.asked = []

    def read(self, now_ns):
        self.asked.append(now_ns)
        reading = self._body.read(now_ns)
        scan = Scan(now_ns - 5, 1, (0.0, 0.0, 0.0), 0, 0.0)
        return reading._replace(
            captured_ns=now_ns, scans=(scan,), position_rad=np.full(2, now_ns / S)
        )


def test_frozen_sensors_repeat_themselves_with_new_stamps():
    body = FaultyBody(Scanned(), (SensorFreeze(at_s=1, for_s=1, target="arm"),), BEGAN)
    before = body.read(BEGAN + S - 10)
    during = body.read(BEGAN + S + 10)
    assert during.captured_ns == BEGAN + S + 10
    assert np.array_equal(during.position_rad, before.position_rad)
    assert during.scans == ()
    after = body.read(BEGAN + 2 * S)
    assert after.position_rad[0] == (BEGAN + 2 * S) / S
    assert after.scans


def test_silent_sensors_let_the_last_reading_grow_old():
    inner = Scanned()
    body = FaultyBody(inner, (SensorDropout(at_s=1, for_s=1, target="arm"),), BEGAN)
    before = body.read(BEGAN + S - 10)
    during = body.read(BEGAN + S + 500)
    assert during.captured_ns == before.captured_ns == BEGAN + S - 10
    assert inner.asked[-1] == BEGAN + S + 500, "the world goes on"
    assert body.read(BEGAN + 2 * S).captured_ns == BEGAN + 2 * S


def test_a_wrong_clock_stamps_what_the_sensors_say_but_not_the_world():
    inner = Scanned()
    body = FaultyBody(inner, (ClockStep(at_s=1, target="arm", step_ms=5000),), BEGAN)
    reading = body.read(BEGAN + 8 * S)
    assert inner.asked == [BEGAN + 3 * S], "the world keeps true time"
    assert reading.captured_ns == BEGAN + 8 * S
    assert reading.scans[0].captured_ns == BEGAN + 8 * S - 5


class Log:
    """A node that writes down its calls and returns what it is told to."""

    def __init__(self, *effects):
        self.calls, self.effects = [], list(effects)

    def _call(self, *call):
        self.calls.append(call)
        return list(self.effects)

    def on_start(self, now_ns):
        return self._call("start", now_ns)

    def on_message(self, now_ns, peer, message):
        return self._call("message", now_ns, peer, message)

    def on_lost(self, now_ns, peer):
        return self._call("lost", now_ns, peer)

    def on_timer(self, now_ns, name):
        return self._call("timer", now_ns, name)

    def on_done(self, now_ns, name, result):
        return self._call("done", now_ns, name, result)

    def report(self, now_ns):
        return Report(
            process="edge", role="edge", boot=1, at_ns=now_ns, counters={}, gauges={}, labels={},
            decisions=np.zeros((0, 1), np.int64), lateness_ns=np.zeros(0, np.int64),
            outcomes=(), events=(),
        )  # fmt: skip


HANG = (Hang(at_s=1, for_s=2, target="edge"),)


def test_a_hung_node_hears_nothing_and_then_all_in_order():
    log = Log()
    node = FaultyNode(log, HANG, BEGAN)
    (resume,) = node.on_start(BEGAN)
    assert isinstance(resume, Timer)
    assert resume.at_ns == BEGAN + 3 * S
    log.effects = [Send("arm", Beat(seq=1, sent_ns=2))]
    assert node.on_message(BEGAN + S - 1, "arm", "before")
    assert node.on_message(BEGAN + S, "arm", "first") == []
    assert node.on_timer(BEGAN + 2 * S, "serve") == []
    assert node.on_done(BEGAN + 2 * S, "infer", 7) == []
    assert node.on_lost(BEGAN + 2 * S, "arm") == []
    assert len(log.calls) == 2
    assert len(node.on_timer(resume.at_ns, resume.name)) == 4
    at_ns = resume.at_ns
    assert log.calls[2:] == [
        ("message", at_ns, "arm", "first"), ("timer", at_ns, "serve"),
        ("done", at_ns, "infer", 7), ("lost", at_ns, "arm"),
    ]  # fmt: skip


def test_what_comes_first_after_a_hang_comes_after_what_was_held():
    log = Log()
    node = FaultyNode(log, HANG, BEGAN)
    node.on_start(BEGAN)
    node.on_message(BEGAN + S, "arm", "held")
    node.on_message(BEGAN + 3 * S, "arm", "new")
    assert [call[3] for call in log.calls[1:]] == ["held", "new"]


def test_a_hung_process_holds_so_much_and_counts_the_rest():
    log = Log()
    node = FaultyNode(log, HANG, BEGAN)
    node.on_start(BEGAN)
    for i in range(HELD_MAX + 3):
        node.on_message(BEGAN + S, "arm", i)
    assert node.report(BEGAN + S).counters["dropped.hung"] == 3
    node.on_timer(BEGAN + 2 * S, "own")
    node.on_done(BEGAN + 2 * S, "job", 7)
    node.on_timer(BEGAN + 3 * S, "fault.resume.1")
    assert len(log.calls) == 1 + HELD_MAX + 2
    assert [call[0] for call in log.calls[-2:]] == ["timer", "done"], "a node keeps what is its own"


def test_a_process_started_during_a_hang_does_not_hang():
    log = Log()
    node = FaultyNode(log, HANG, BEGAN)
    assert node.on_start(BEGAN + 1.5 * S) == []
    node.on_message(BEGAN + 2 * S, "arm", "x")
    assert len(log.calls) == 2


def parcel(seq):
    return Parcel(SegmentId("arm", 1, seq), 5, Priority(0), b"x" * 5000)


def test_a_full_disk_fails_real_writes_and_then_no_more(tmp_path):
    """SQLite meets the refusal of the operating system, changes nothing, and works afterwards."""
    outbox = Outbox(tmp_path / "outbox.sqlite", 10**9)
    assert outbox.commit([parcel(0)]).counts["stored"] == 1
    faults = (FullDisk(at_s=1, for_s=1, target="edge"),)
    disk = Compute("commit", lambda: outbox.commit([parcel(1)]), "disk")
    node = FaultyNode(Log(disk), faults, BEGAN)
    (full,) = node.on_timer(BEGAN + S, "x")
    with pytest.raises(sqlite3.Error):
        full.job()
    (tmp_path / "log").write_text("others of the process write again")
    (well,) = node.on_timer(BEGAN + 2 * S, "x")
    done = well.job()
    assert done.counts["stored"] == 1
    assert done.standing.rows == 2
    assert outbox.knows(SegmentId("arm", 1, 1))


def test_a_full_disk_is_no_matter_for_what_does_not_write():
    inference = Compute("infer", lambda: 7, "")
    node = FaultyNode(Log(inference), (FullDisk(at_s=0, for_s=9, target="edge"),), BEGAN)
    assert node.on_timer(BEGAN + S, "x") == [inference]
    assert on_a_full_disk(lambda: 7) == 7


def test_slow_learning_takes_as_many_times_as_long():
    def work():
        time.sleep(0.05)
        return 7

    node = FaultyNode(
        Log(Compute("fit", work, "learn"), Compute("commit", work, "disk")),
        (SlowLearner(at_s=1, for_s=1, target="cloud", factor=5),), BEGAN,
    )  # fmt: skip

    def durations(now_ns):
        found = []
        for compute in node.on_timer(now_ns, "x"):
            begin = time.monotonic()
            assert compute.job() == 7
            found.append(time.monotonic() - begin)
        return found

    fit, commit = durations(BEGAN + S)
    assert fit >= 0.25
    assert commit < 0.2
    assert durations(BEGAN + 2 * S)[0] < 0.2
