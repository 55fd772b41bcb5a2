"""A sweep as a user meets it: real processes; what runs in them is made up (fake_worker.py)."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tierloop.cli.app import main
from tierloop.sweep import pool

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).with_name("fake_worker.py")
HARM = "scenario.scan_dropout=0.1,0.5"
MAIN = (
    "import sys; from tierloop.sweep import pool; from tierloop.__main__ import main;"
    f"pool.COMMAND = (sys.executable, {str(FAKE)!r}); sys.exit(main())"
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cell.toml"
    path.write_text('name = "cell"\n[scenario]\nrobots = ["calm"]\n')
    return path


def words(file, mode, *more, over=HARM):
    robots = f'scenario.robots=["{mode}"]'
    out = str(file.parent / "out")
    return ["sweep", str(file), "--over", over, "--set", robots, "--out", out, *more]


@pytest.fixture
def sweep(monkeypatch, capsys):
    """The command in this process and without charts, which take longer than all it does here."""
    monkeypatch.setattr("tierloop.sweep.page.charts.draw", lambda *_, **__: "")
    monkeypatch.setattr("tierloop.sweep.page.charts.standalone", lambda _: "")
    monkeypatch.setattr(pool, "COMMAND", (sys.executable, str(FAKE)))
    monkeypatch.chdir(ROOT)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tierloop", *arguments])
        capsys.readouterr()
        try:
            code = main()
        except SystemExit as left:
            code = left.code
        return SimpleNamespace(returncode=code or 0, **capsys.readouterr()._asdict())

    return run


def started(out):
    log = out / "started"
    return [line.split()[1:] for line in log.read_text().splitlines()] if log.exists() else []


def table(out):
    return list(csv.DictReader((out / "sweep.csv").read_text().splitlines()))


def test_a_grid_is_run_and_told_in_figures(file, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *words(file, "calm", "--seeds", "3", "--jobs", "2")],
        capture_output=True, text=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(started(tmp_path / "out")) == 6
    low, high = table(tmp_path / "out")
    assert (low["seeds"], low["episodes"], low["successes"]) == ("3", "120", "107")
    assert (high["scenario.scan_dropout"], high["successes"]) == ("0.5", "59")
    assert low["age_p50_ms"] == "20"
    assert "[6/6]" in done.stdout
    assert "0.892 (0.823 to 0.936)" in done.stdout
    assert (tmp_path / "out" / "sweep.html").stat().st_size > 1000
    assert (tmp_path / "out" / "sweep.svg").read_text().startswith("<svg")
    assert not list((tmp_path / "out" / "logs").iterdir())


def test_what_is_finished_is_not_run_again_and_what_has_changed_is(file, tmp_path, sweep):
    out = tmp_path / "out"
    sweep(*words(file, "calm", "--seeds", "2"))
    first = (out / "sweep.csv").read_bytes()
    again = sweep(*words(file, "calm", "--seeds", "2"))
    assert again.returncode == 0
    assert "0 runs, " in again.out
    assert "4 more are already done" in again.out
    assert len(started(out)) == 4
    assert (out / "sweep.csv").read_bytes() == first
    half, strange = sorted((out / "cells").iterdir())[:2]
    half.write_text('{"success": {"epi')
    strange.write_text("{}")
    sweep(*words(file, "calm", "--seeds", "3"))
    assert len(started(out)) == 4 + 2 + 2
    file.write_text(file.read_text() + "scan_hz = 14.0\n")
    changed = sweep(*words(file, "calm", "--seeds", "1"))
    assert len(started(out)) == 8 + 2
    assert "6 with other settings" in changed.out
    assert [row["seeds"] for row in table(out)] == ["1", "1"]


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("dies", "failed: exit code 3: RuntimeError: the belt is torn"),
        ("killed", "failed: killed by signal 9"),
        ("half", "failed: exit code 0"),
    ],
)
def test_a_cell_that_fails_is_told_with_its_command_and_loses_no_other(
    file, tmp_path, sweep, mode, why
):
    done = sweep(*words(file, mode, "--seeds", "2"))
    assert done.returncode == 1
    assert why in done.out
    expected = f"tierloop run {file} --clock virtual --seed 1 --set run.until_success=0 --set"
    assert expected in done.out
    assert "Traceback" not in done.err
    if mode != "half":
        assert [row["scenario.scan_dropout"] for row in table(tmp_path / "out")] == ["0.1"]
    again = sweep(*words(file, mode, "--seeds", "2"))
    assert again.returncode == 1
    assert len(started(tmp_path / "out")) == (8 if mode == "half" else 6)


def test_a_violated_invariant_fails_the_sweep_and_says_where(file, tmp_path, sweep):
    done = sweep(*words(file, "broken"))
    assert done.returncode == 1
    assert "invariants violated: action_order 1" in done.out
    assert "scenario.scan_dropout=0.5" in done.out.split("violated")[1]
    assert [row["violations"] for row in table(tmp_path / "out")] == ["0", "1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_sweep_that_is_stopped_leaves_no_process_and_keeps_what_is_done(
    file, tmp_path, sweep, number
):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words(file, "slow", "--seeds", "2", "--jobs", "2")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
    )  # fmt: skip
    end = time.monotonic() + 40
    while len(started(out)) < 4:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)
    pids = [int(line.split()[0]) for line in (out / "started").read_text().splitlines()]
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    if number != signal.SIGKILL:
        assert process.returncode == 4, output
        assert "Stopped: 2 of 4 runs are done" in output
        assert "Traceback" not in output
        assert not any(psutil.pid_exists(pid) for pid in pids)
        assert len(list(out.glob("stopped-*"))) == 2, "they were asked before they were killed"
    else:
        for pid in filter(psutil.pid_exists, pids):
            os.kill(pid, signal.SIGKILL)
    assert len(os.listdir(out / "cells")) == 2
    again = sweep(*words(file, "slow", "--seeds", "2", over="scenario.scan_dropout=0.1"))
    assert again.returncode == 0
    assert "0 runs, " in again.out
    assert "2 more are already done" in again.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--over", "scenario.scan_hs=1,2"], "did you mean 'scan_hz'?"),
        (["--over", "scenario.scan_hz=10,fast"], "--over scenario.scan_hz"),
        (["--over", "scenario.scan_hz"], "expected KEY=VALUE,VALUE"),
        ([], "--over is missing"),
        (["--over", "scenario.scan_hz=10", "--seeds", "0"], "at least 1"),
        (["--over", "scenario.scan_hz=10", "--jobs", "0"], "at least 1"),
        (["--over", "scenario.scan_hz=10", "--clock", "wall"], "slow one another down"),
        (
            ["--over", "scenario.scan_hz=10", "--out", str(ROOT)],
            "not a sweep; choose another --out",
        ),
        (["--over", "scenario.scan_hz=10", "--out", str(FAKE)], "not a folder"),
        (["--over", "scenario.scan_hz=10", "--out", "/dev/null/x"], "choose another --out"),
    ],
)
def test_a_users_mistake_is_one_line_before_anything_has_started(
    file, tmp_path, sweep, arguments, expected
):
    before = sorted(tmp_path.iterdir())
    done = sweep("sweep", str(file), *arguments)
    assert done.returncode == 2
    assert done.err.count("\n") == 1
    assert expected in done.err
    assert done.out == ""
    assert sorted(tmp_path.iterdir()) == before
