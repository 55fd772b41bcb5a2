"""One file of faults on both clocks: what it says happens, does harm, and is recovered from."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_address

from tierloop.stack.config.fault_tables import load
from tierloop.stack.faults.timeline import told
from tierloop.stack.record import folder
from tierloop.stack.record.record import ROOF

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deployments" / "faults" / "bad-day.toml"
ROBOTS = ("arm-0", "arm-1")
LASTS_S = 58

pytestmark = pytest.mark.timeout(200)


def run(out, clock):
    """The sorting cell over a modelled wifi, under the example's faults."""
    sets = {
        "links.device.preset": "wifi",
        "links.device_edge": free_address(),
        "links.edge_cloud": free_address(),
        "cloud.ray": "none",
        "learner.min_lived": 1_000_000,
        "run.until_success": 0,
    }
    command = [sys.executable, "-m", "tierloop", "run", str(ROOT / "deployments/sorting-cell.toml")]
    command += ["--faults", str(EXAMPLE), "--for", str(LASTS_S), "--out", str(out)]
    command += ["--clock", clock, *(x for k, v in sets.items() for x in ("--set", f"{k}={v}"))]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=ROOT)


@pytest.mark.parametrize(
    "clock", ["virtual", pytest.param("wall", marks=[pytest.mark.slow, pytest.mark.process])]
)
def test_the_example_does_harm_and_is_recovered_from(tmp_path, clock):
    out = tmp_path / "run"
    done = run(out, clock)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((out / "summary.json").read_text())
    _, record = folder.load(out)
    check_timeline(summary)
    check_harm(record)
    check_recovery(summary, record)


def check_timeline(summary):
    """Every entry of the file is in the summary, at its instant, and the crashes took place."""
    found = [f for f in summary["faults"] if f["fault"].startswith("fault.")]
    expected = sorted((t / 1e9, p, n) for t, p, n, _ in told(load(EXAMPLE, ROBOTS)))
    got = sorted((round(f["at_s"]), f["process"], f["fault"]) for f in found)
    assert got == expected
    assert all(0 <= f["at_s"] - round(f["at_s"]) < 0.5 for f in found)
    lives = {(f["process"], f["fault"]): f["at_s"] for f in summary["faults"]}
    for process, down_s in (("edge", 2), ("cloud", 4)):
        took_s = lives[process, "restarted"] - lives[process, "died"]
        assert down_s - 0.2 <= took_s < down_s + 0.5, "down for as long as it should be"


def check_harm(record):
    """Each kind left its trace where it struck."""
    device, edge = record.counters("device"), record.counters("edge")
    assert device["link.up.dropped.cut"] > 20
    assert device["link.up.dropped.loss"] > 10
    assert device["link.up.duplicated"] > 5
    assert device["link.frames.dropped.damaged"] > 3
    assert device["rung_s.hold"] > 2
    assert edge["link.up.dropped.queue"] > 0, "the cap on the edge's way up"
    assert edge["outbox_failures"] > 0, "the full disk"
    assert len(record.of("edge")) == len(record.of("cloud")) == 2
    events = [(h.process, h.name) for h in record.happenings if h.role != ROOF]
    assert events.count(("edge", "lost")) >= 4, "the partition, and the leap of the edge's clock"


def check_recovery(summary, record):
    """Nothing acknowledged is lost, no promise broken, and the bodies act again at the end."""
    assert not any(summary["invariants"].values()), summary["invariants"]
    experience = summary["experience"]
    assert experience["missing"] == experience["altered"] == experience["shed"] == 0
    assert experience["acked"] >= experience["produced"] - 8
    for life in record.of("device"):
        assert life.last.labels["rung"] == "edge"
        assert life.last.gauges["backlog"] <= 3
