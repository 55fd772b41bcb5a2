"""A sweep of real runs, on the light plant: what it says is what the runs say."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tierloop.stack.config.deployment import load
from tierloop.stack.virtual.run import run_virtual
from tierloop.sweep.grid import grid

ROOT = Path(__file__).parents[2]
TEXT = """
name = "plant"
[scenario]
task = "reach"
body = "plant"
robots = ["one"]
[learner]
rounds_max = 1
min_lived = 1000000
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "plant.toml"
    path.write_text(TEXT)
    return path


def command(file, seconds, *more):
    words = ["sweep", str(file), "--over", "links.device.delay_ms=0,40", "--seeds", "2"]
    words += ["--set", f"run.duration_s={seconds}", "--out", str(file.parent / "out"), *more]
    return [sys.executable, "-m", "tierloop", *words]


@pytest.mark.timeout(120)
def test_the_table_says_what_each_run_by_itself_says(file, tmp_path):
    done = subprocess.run(
        command(file, 3, "--seeds", "1"), capture_output=True, text=True, cwd=ROOT, timeout=110
    )
    assert "failed" not in done.stdout + done.stderr, done.stdout + done.stderr
    rows = list(csv.DictReader((tmp_path / "out" / "sweep.csv").read_text().splitlines()))
    near, far = (float(row["age_p50_ms"]) for row in rows)
    # The way there and back, and at most a decision more where an answer is left out.
    assert 80 <= far - near < 130
    (cell, *_) = grid(file, ["links.device.delay_ms=0,40"], 1, ["run.duration_s=3"]).cells
    kept = json.loads((tmp_path / "out" / "cells" / f"{cell.name}.json").read_text())
    alone = run_virtual(load(file, ["run.duration_s=3", "run.until_success=0"]), 0)
    assert kept["trace_sha256"] == alone["trace_sha256"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_run_outlives_its_sweep(file, number):
    process = subprocess.Popen(
        command(file, 100_000), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    cells: list[psutil.Process] = []
    end = time.monotonic() + 60
    while not cells or any(len(cell.open_files()) < 1 for cell in cells):
        cells = psutil.Process(process.pid).children(recursive=True)
        assert time.monotonic() < end
        time.sleep(0.2)
    os.kill(process.pid, number)
    process.wait(30)
    gone, alive = psutil.wait_procs(cells, 20)
    assert len(gone) == len(cells)
    assert alive == []
