"""`tierloop run --clock virtual`: the record of a run, the same on every path and host."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from virtual_plants import deployment

from tierloop.sim.scenario import policy_spec
from tierloop.stack.config.deployment import load
from tierloop.stack.config.initial_policy import read
from tierloop.stack.virtual.run import VirtualRun, run_virtual
from tierloop.views.finish import join

ROOT = Path(__file__).parents[2]
PLANTS = """
name = "plants"
run = { duration_s = 4 }
scenario = { task = "reach", body = "plant", robots = ["p-0", "p-1"] }
learner = { rounds_max = 0 }
links = { device = { preset = "wifi" }, cloud = { preset = "wifi" } }
"""
LEARNING = """
name = "arm"
run = { duration_s = 4 }
scenario = { robots = ["arm-0"], episode_s = 1.5 }
learner = { hidden = [8], min_lived = 20, twin_episodes = 1, gate_episodes = 1, steps_per_round = 20, rounds_max = 2, gate_p = 0.999 }
links = { device = { preset = "wifi" } }
"""  # noqa: E501


def command(file: Path, out: Path, *arguments: str) -> list[str]:
    return [
        sys.executable, "-m", "tierloop", "run", str(file), "--clock", "virtual",
        "--out", str(out), *arguments,
    ]  # fmt: skip


def run(tmp_path: Path, text: str, name: str, seed: int = 7, hash_seed: int = 0) -> dict[str, Any]:
    """The summary of a run in a directory and under a hash seed of its own."""
    place = tmp_path / name
    place.mkdir()
    file = place / f"{name}.toml"
    file.write_text(text)
    done = subprocess.run(
        command(file, place / "out", "--seed", str(seed)),
        cwd=place, capture_output=True, text=True, timeout=110,
        env=os.environ | {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((place / "out" / "summary.json").read_text())


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """The folder and the summary of one run of the plants."""
    place = tmp_path_factory.mktemp("plants")
    summary = run(place, PLANTS, "one", hash_seed=1)
    return place / "one" / "out", summary


def test_the_trace_depends_on_the_seed_and_on_nothing_else(tmp_path, once):
    _, one = once
    two = run(tmp_path, PLANTS, "somewhere-else", hash_seed=2)
    made = load(tmp_path / "somewhere-else" / "somewhere-else.toml")
    here, other = run_virtual(made, 7), run_virtual(made, 8)
    assert len(one["trace_sha256"]) == 64
    same = {k: v for k, v in one.items() if k != "host"}
    assert same == {k: v for k, v in two.items() if k != "host"}
    assert other["trace_sha256"] != here["trace_sha256"] == one["trace_sha256"]
    assert (one["clock"], one["seed"], other["seed"]) == ("virtual", 7, 8)


def test_learning_is_as_exact(tmp_path):
    """Here strings have other hashes than there; a process more would import torch once more."""
    one = run(tmp_path, LEARNING, "one", hash_seed=1)
    two = run_virtual(load(tmp_path / "one" / "one.toml"), 7)
    assert one["cloud"]["phase_s"]["fitting"] > 0
    assert one["trace_sha256"] == two["trace_sha256"]
    assert one["policy_versions"] == two["policy_versions"]


def test_the_record_is_that_of_any_run(once):
    out, summary = once
    for name in ("ledger.parquet", "report.html", "deployment.json", "parts/roof.reports",
                 "state/cloud/store.sqlite", "state/edge/outbox.sqlite"):  # fmt: skip
        assert (out / name).stat().st_size > 0
    assert summary["action_age_ms"]["n"] > 100
    assert summary["ticks"]["n"] == pytest.approx(2 * 4 * 240, rel=0.02)
    assert summary["experience"]["stored"] == summary["experience"]["produced"] > 0
    assert not any(summary["invariants"].values())
    joined = subprocess.run(
        [sys.executable, "-m", "tierloop", "report", str(out)],
        cwd=ROOT, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert joined.returncode == 0, joined.stderr
    assert json.loads((out / "summary.json").read_text()) == summary


def test_ctrl_c_ends_it_early_with_a_record(tmp_path):
    file, out = tmp_path / "plants.toml", tmp_path / "out"
    file.write_text(PLANTS)
    process = subprocess.Popen(
        command(file, out, "--for", "100000"), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    end_s = time.monotonic() + 60
    reports = out / "parts" / "p-1.reports"
    while not reports.exists() or reports.stat().st_size < 100_000:  # a few seconds of it
        assert time.monotonic() < end_s
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped by a signal" in said
    summary = json.loads((out / "summary.json").read_text())
    assert 0 < summary["duration_s"] < 100000
    assert summary["experience"]["missing"] == 0


def test_a_folder_with_another_run_is_one_line(tmp_path):
    file, out = tmp_path / "plants.toml", tmp_path / "out"
    file.write_text(PLANTS)
    out.mkdir()
    (out / "something").write_text("")
    done = subprocess.run(command(file, out), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "choose another --out" in done.stderr


def kept_run(made, seed, out):
    with closing(VirtualRun(made, seed, out)) as run:
        run.to_the_end()
    return join(out)


def test_without_a_folder_the_summary_is_the_same(tmp_path):
    made = deployment()
    made = msgspec.structs.replace(made, run=type(made.run)(duration_s=2))
    kept, unkept = kept_run(made, 5, tmp_path / "out"), run_virtual(made, 5)
    assert kept == unkept


def test_a_given_policy_acts_and_nothing_is_learnt(tmp_path):
    made = deployment()
    first = tmp_path / "first"
    run = type(made.run)(duration_s=3)
    made = msgspec.structs.replace(made, run=run)
    summary = kept_run(made, 5, first)
    (stored,) = (first / "state" / "edge" / "policies").glob("*.policy")
    given = tmp_path / "given.policy"
    given.write_bytes(stored.read_bytes())
    policy = type(made.policy)(initial=str(given))
    again = run_virtual(msgspec.structs.replace(made, policy=policy), 6)
    manifest = read(given).manifest
    assert manifest.spec == policy_spec(made.scenario)
    digests = [v["digest"] for v in again["policy_versions"]]
    assert digests == [summary["policy_versions"][0]["digest"]]
    assert again["cloud"]["phase_s"].get("playing", 0) == 0
