"""`make attack`, `make kills` and `make soak` in short, so that they do not rot."""

import os
import random
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import aftermath
import growth
import pytest
from frames import Frames, resealed
from soak import timeline
from verdict import Verdict, slope
from victims import ROOF, Victim

from tierloop.contract import messages as m
from tierloop.contract.codec import Codec
from tierloop.contract.errors import WireError
from tierloop.contract.streams import ALL
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.stack.config.fault_tables import read
from tierloop.stack.config.toml import Source
from tierloop.stack.faults.kinds import KINDS

SPEC = policy_spec(Scenario(task="reach", body="plant"))


def decoded(frames) -> list[m.Message | str]:
    codec, found = Codec(), []
    for frame in frames:
        try:
            found.append(codec.decode(frame))
        except WireError as error:
            found.append(error.reason)
    return found


def test_lies_pass_the_codec_often_enough_to_reach_the_nodes():
    frames = Frames(1, ("arm-0", "edge"), SPEC)
    every = decoded(frames.every())
    assert {type(one) for one in every} >= {*ALL}
    drawn = decoded(frames.lie() for _ in range(3000))
    assert sum(isinstance(one, m.Message) for one in drawn) > 1000
    assert {type(one) for one in drawn} >= {*ALL}
    bent = decoded(resealed(frames.lie(), frames.rng) for _ in range(1000))
    assert "damaged" not in bent
    assert all(isinstance(one, m.Sealed) for one in decoded(frames.sealed() for _ in range(100)))


def test_the_same_seed_says_the_same_lies(monkeypatch):
    monkeypatch.setattr("time.monotonic_ns", lambda: 1)
    one, two = (Frames(7, ("arm-0",), SPEC) for _ in range(2))
    assert [one.lie() for _ in range(500)] == [two.lie() for _ in range(500)]
    assert [one.raw() for _ in range(500)] == [two.raw() for _ in range(500)]


def test_a_timeline_has_every_kind_every_ten_seconds_and_fits_the_format(tmp_path):
    file = tmp_path / "faults.toml"
    file.write_text(timeline(random.Random(3), 1200.0))
    faults = read(Source(file), ("arm-0", "arm-1"), 1200.0)
    assert {fault.kind for fault in faults} == set(KINDS)
    assert [fault.at_s for fault in faults] == [20.0 + 10 * n for n in range(len(faults))]
    assert tomllib.loads(timeline(random.Random(3), 60.0))["fault"][0]["at_s"] == 20.0


def test_a_verdict_is_broken_by_one_line():
    verdict = Verdict()
    verdict.none("lost", 0)
    assert verdict.code == 0
    verdict.at_most("MB", 3.0, 2.0)
    assert verdict.code == 1
    assert verdict.text().count("BROKEN") == 1


def test_growth_is_judged_of_what_is_warm_and_the_end_of_what_the_run_held():
    def judged(mb_per_s: float, peak_mb: float) -> list[bool]:
        verdict = Verdict()
        samples = [(float(s), 90.0 + min(s, 200) / 4 + mb_per_s * s) for s in range(600)]
        growth.judge(verdict, "roof", samples)
        growth.at_end(verdict, peak_mb, samples)
        return [line.held for line in verdict.lines if line.bound]

    assert judged(0.0, 200.0) == [True, True], "what a process grows by at first is no matter"
    assert judged(0.002, 200.0) == [False, True]
    assert judged(0.0, 400.0) == [True, False]


def test_a_slope_is_that_of_most_of_the_samples():
    steady = [(float(t), 5.0 + (t == 50) * 1000) for t in range(100)]
    assert slope(steady) == 0.0
    assert slope([(float(t), 0.5 * t) for t in range(100)]) == pytest.approx(0.5)


@pytest.fixture
def deserter(tmp_path, monkeypatch):
    """A command that stops when told, and leaves a process of a session of its own behind."""
    script = tmp_path / "deserts"
    script.write_text("#!/bin/sh\ntrap 'exit 0' INT\nsetsid sleep 60 &\nwait\n")
    script.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(script))
        victim = Victim("run", tmp_path / "x.toml", tmp_path / "run")
    victim.wait(lambda: not victim.members().keys() - {ROOF} and bool(victim.family), "left", 10)
    yield victim
    victim.close(0.0)


def test_a_process_that_is_left_is_seen_before_it_is_ended(deserter):
    (left,) = deserter.family
    assert deserter.interrupt() == 0
    assert deserter.orphans(0.1) == [left]
    deserter.close(0.0)
    assert deserter.orphans(5.0) == []


def test_a_command_that_does_not_stop_is_killed_alone(deserter):
    os.kill(deserter.process.pid, signal.SIGSTOP)
    assert deserter.interrupt(0.1) == -signal.SIGKILL
    assert len(deserter.orphans(0.1)) == 1


@pytest.mark.parametrize(
    ("killed", "broken"), [([], 0), (["cloud"], 0), (["edge"], 1), (["arm-0", "edge"], 1)]
)
def test_who_does_not_stop_when_told_breaks_the_verdict_but_for_the_cloud(
    tmp_path, monkeypatch, killed, broken
):
    ends = [SimpleNamespace(role=ROOF, process=name, name="killed") for name in killed]
    monkeypatch.setattr(aftermath, "load", lambda _: (None, SimpleNamespace(happenings=ends)))
    victim = SimpleNamespace(out=tmp_path, vitals=[], orphans=lambda _: [])
    verdict = Verdict()
    aftermath.processes(verdict, "whole", victim, 0, "ghost")
    assert sum(not line.held for line in verdict.lines) == broken


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "command",
    [
        ("attack.py", "--frames", "20000", "--clients", "200", "--minutes", "1"),
        ("kills.py", "--kills", "8"),
        ("soak.py", "--minutes", "1.2"),
    ],
    ids=["attack", "kills", "soak"],
)
def test_the_command_in_short(command):
    name, *options = command
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(name)), *options],
        capture_output=True, text=True, timeout=230, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
