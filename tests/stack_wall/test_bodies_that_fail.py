"""A robot whose body's code fails stops alone: the others go on, and so does the run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ports import free_address

from tierloop.contract.ledger import INDEX
from tierloop.stack.record import reports
from tierloop.stack.record.record import ROOF

pytestmark = pytest.mark.timeout(150)

ROBOTS = ("well", "raises", "unfit", "blocks", "built-badly")


def told(out: Path) -> list[tuple[str, str]]:
    """What became of which process, as its supervisor has told so far."""
    return [
        (event.detail.partition(":")[0], event.name)
        for report in reports.read(out / "parts") if report.role == ROOF
        for event in report.events
    ]  # fmt: skip


def acted(out: Path) -> int:
    """Decisions so far on which the robot without a fault has acted."""
    return sum(
        int((report.decisions[:, INDEX["applied_ns"]] > 0).sum())
        for report in reports.read(out / "parts") if report.process == "well"
    )  # fmt: skip


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits while the run goes on: it neither ends nor takes longer than a busy host may."""
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "the run has ended"
        assert time.monotonic() < end, "not in time"
        time.sleep(0.1)


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
    with subprocess.Popen(
        [sys.executable, "-m", "tierloop", "run", str(file), "--for", "100", "--out", str(out)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            until(lambda: ("blocks", "restarted") in told(out), process)
            before = acted(out)
            until(lambda: acted(out) > before + 50, process)
        finally:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    summary = json.loads((out / "summary.json").read_text())
    faults = [(f["process"], f["fault"], f["detail"]) for f in summary["faults"]]
    assert ("raises", "died", "exit 1: ValueError: the sensor is gone") in faults
    unfit = [detail for name, fault, detail in faults if (name, fault) == ("unfit", "died")]
    assert all(d.startswith("exit 1: ") and "position_rad: shape" in d for d in unfit), faults
    assert unfit
    assert ("built-badly", "died", "exit 1: ValueError: no such arm") in faults
    hung = [fault for name, fault, _ in faults if name == "blocks"]
    assert hung[:3] == ["hung", "died", "restarted"], faults
    assert not [fault for name, fault, _ in faults if name in ("well", "edge", "cloud")], faults
