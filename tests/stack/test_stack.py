"""Faults on the whole stack: real arms, real sockets, real processes, killed for real."""

import sqlite3
import time

import pyarrow.parquet as pq
import pytest
from whole import Stack, options, summary

from tierloop.contract.ledger import INDEX, Rung
from tierloop.stack.record import reports
from tierloop.stack.record.disks import CLOUD_STORE

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]

SERIAL = {"cloud__ray": "none", "learner__rounds_max": 1, "learner__steps_per_round": 20}


class Watch:
    """What the processes have reported so far to the run in `out`."""

    def __init__(self, out):
        self._out = out

    def until(self, condition, seconds=60.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "not in time"
            time.sleep(0.1)

    def answered(self):
        """Decisions of each robot that an edge's answer was applied to."""
        found = dict.fromkeys(("arm-0", "arm-1"), 0)
        for report in reports.read(self._out / "parts"):
            if report.role == "device":
                rungs = report.decisions[:, INDEX["rung"]]
                found[report.process] += int((rungs == Rung.EDGE).sum())
        return found

    def arrived(self):
        """Segments that have come to each life of the cloud, the newest life last."""
        lives = {}
        for report in reports.read(self._out / "parts"):
            if report.process == "cloud":
                lives[report.boot] = report.counters.get("link.sealed.received", 0)
        return list(lives.values())

    def until_acting(self, decisions=25):
        """Until every robot has acted on that many answers from now on."""
        before = self.answered()
        self.until(lambda: all(n >= before[r] + decisions for r, n in self.answered().items()))


def test_edge_and_cloud_killed_nothing_acknowledged_is_lost(tmp_path):
    out = tmp_path / "run"
    stack = Stack(*options(**SERIAL), "--for", "90", "--out", str(out))
    watch = Watch(out)
    try:
        watch.until(lambda: sum(watch.arrived()) >= 4)
        edge = stack.kill("edge")
        stack.wait_for("edge", other_than=edge)
        watch.until_acting()
        cloud = stack.kill("cloud")
        stack.wait_for("cloud", other_than=cloud)
        watch.until(lambda: len(watch.arrived()) == 2 and watch.arrived()[-1] >= 4)
        watch.until_acting()
        took_s = stack.interrupt()
    finally:
        output = stack.close()
    assert stack.process.returncode == 0, output
    assert took_s < 5, output
    assert stack.survivors() == []
    s = summary(out)
    assert not any(s["invariants"].values()), s["invariants"]
    assert s["experience"]["missing"] == s["experience"]["altered"] == 0
    assert s["experience"]["stored"] > 10
    assert s["experience"]["acked"] >= s["experience"]["produced"] - 12
    assert s["decisions"]["fallback"]["hold"] > 0
    assert len(s["faults"]) >= 2
    table = pq.read_table(out / "ledger.parquet")
    rungs = table.column("rung").to_pylist()
    last_hold = max(i for i, r in enumerate(rungs) if r != Rung.EDGE)
    assert rungs[-1] == Rung.EDGE
    assert last_hold < len(rungs) - 20, "sorting did not resume"
    age_ms = [
        (applied - captured) / 1e6
        for applied, captured in zip(
            table.column("applied_ns").to_pylist(),
            table.column("captured_ns").to_pylist(),
            strict=True,
        )
        if applied
    ]
    assert max(age_ms) <= 400
    with sqlite3.connect(f"file:{out / CLOUD_STORE}?mode=ro", uri=True) as store:
        (bad,) = store.execute("PRAGMA integrity_check").fetchone()
    store.close()
    assert bad == "ok"


def test_three_terminals_make_one_stack(tmp_path):
    out = tmp_path / "run"
    shared = [*options(**SERIAL), "--for", "60", "--out", str(out)]
    stacks = [Stack(*shared, command=tier) for tier in ("cloud", "edge", "device")]
    try:
        Watch(out).until_acting(40)
        for stack in reversed(stacks):
            assert stack.interrupt() < 5
    finally:
        outputs = [stack.close() for stack in stacks]
    assert [s.process.returncode for s in stacks] == [0, 0, 0], outputs
    assert [s.survivors() for s in stacks] == [[], [], []]
    from tierloop.views.finish import join

    s = join(out)
    assert s["decisions"]["by_tier"]["edge"] > 60
    assert s["experience"]["missing"] == 0
    assert s["experience"]["stored"] > 5
    assert set(s["robots"]) == {"arm-0", "arm-1"}
    assert not any(s["invariants"].values())
