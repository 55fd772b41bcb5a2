"""A robot whose body's code fails stops alone: the others go on, the run ends as planned."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_address

from tierloop.contract.ledger import INDEX
from tierloop.stack.record import reports

pytestmark = [pytest.mark.process, pytest.mark.timeout(150)]

ROBOTS = ("well", "raises", "unfit", "blocks", "built-badly")
SECONDS = 14
"""A start, a report, five seconds of silence, a second life, and as long again for a busy host."""


def test_a_body_that_raises_or_blocks_stops_its_robot_alone(tmp_path):
    file, out = tmp_path / "bodies.toml", tmp_path / "run"
    file.write_text(
        f"""name = "bodies"
[scenario]
task = "reach"
body = "plant"
robots = {list(ROBOTS)}
[links]
device_edge = "{free_address()}"
edge_cloud = "{free_address()}"
[learner]
rounds_max = 0
[cloud]
ray = "none"
"""
    )
    places = [str(Path(__file__).parent / "raising"), str(Path(__file__).parents[2])]
    ended = subprocess.run(
        [sys.executable, "-m", "tierloop", "run", str(file), "--for", str(SECONDS),
         "--out", str(out)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    told = [(f["process"], f["fault"], f["detail"]) for f in summary["faults"]]
    assert summary["duration_s"] >= SECONDS, ended.stdout
    assert ("raises", "died", "exit 1: ValueError: the sensor is gone") in told
    unfit = [detail for name, fault, detail in told if (name, fault) == ("unfit", "died")]
    assert all(d.startswith("exit 1: ") and "position_rad: shape" in d for d in unfit), told
    assert unfit
    assert ("built-badly", "died", "exit 1: ValueError: no such arm") in told
    hung = [fault for name, fault, _ in told if name == "blocks"]
    assert hung[:3] == ["hung", "died", "restarted"], told
    assert not [fault for name, fault, _ in told if name in ("well", "edge", "cloud")], told
    acted = [
        int((r.decisions[:, INDEX["applied_ns"]] > 0).sum())
        for r in reports.read(out / "parts") if r.process == "well"
    ]  # fmt: skip
    assert sum(acted[-5:]) > 50, "it acts to the end"
