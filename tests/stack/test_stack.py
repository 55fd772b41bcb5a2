"""Faults on the whole stack: real arms, real sockets, real processes, killed for real."""

import sqlite3
import time

import pyarrow.parquet as pq
import pytest
from stack import Stack, options, summary

from contract.ledger import Rung
from tierloop.audit import CLOUD_STORE

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]

SERIAL = {"cloud__ray": "none", "learner__rounds_max": 1, "learner__steps_per_round": 20}


def wait_for_acting(out, versions=0, seconds=60.0):
    """Until the edge has switched to a policy."""
    journal = out / "state" / "edge" / "policies" / "journal.json"
    end = time.monotonic() + seconds
    while not (journal.exists() and journal.read_text().count("activate") > versions):
        assert time.monotonic() < end, "no policy became active"
        time.sleep(0.1)


def test_edge_and_cloud_killed_nothing_acknowledged_is_lost(tmp_path):
    out = tmp_path / "run"
    stack = Stack(*options(**SERIAL), "--for", "90", "--out", str(out))
    try:
        wait_for_acting(out)
        time.sleep(3)
        edge = stack.kill("edge")
        stack.wait_for("edge", other_than=edge)
        time.sleep(6)
        cloud = stack.kill("cloud")
        stack.wait_for("cloud", other_than=cloud)
        time.sleep(6)
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
        wait_for_acting(out)
        time.sleep(6)
        for stack in reversed(stacks):
            assert stack.interrupt() < 5
    finally:
        outputs = [stack.close() for stack in stacks]
    assert [s.process.returncode for s in stacks] == [0, 0, 0], outputs
    assert [s.survivors() for s in stacks] == [[], [], []]
    from tierloop.join import join

    s = join(out)
    assert s["decisions"]["by_tier"]["edge"] > 60
    assert s["experience"]["missing"] == 0
    assert s["experience"]["stored"] > 5
    assert set(s["robots"]) == {"arm-0", "arm-1"}
    assert not any(s["invariants"].values())
