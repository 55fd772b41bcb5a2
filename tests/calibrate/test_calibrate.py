"""Calibration: what it times, what it makes of the samples, and the file it leaves."""

import time
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from plant import POLICY
from rich.console import Console

from tierloop.calibrate import calibrate as module
from tierloop.calibrate import timing as timing_module
from tierloop.calibrate.calibrate import calibrate, summarise, toml, unsteady
from tierloop.calibrate.disturbance import HostWatch
from tierloop.calibrate.jobs import probes
from tierloop.calibrate.networks import BATCHES, HELD_OUT, NETWORKS, name_of, untrained
from tierloop.calibrate.timing import TimedJob, Timing, measure
from tierloop.contract.errors import UserError
from tierloop.policy.artefact import pack
from tierloop.policy.mlp import Mlp
from tierloop.policy.work import work
from tierloop.stack.config import hardware
from tierloop.stack.config.deployment import load


def timing(job: str, rows: int, median_us: float, engine: str = "", spread: float = 0.1) -> Timing:
    """Log-normal samples, exactly at their quantiles."""
    quantiles = np.random.default_rng(0).permutation(np.linspace(-2.5, 2.5, 4001))
    samples = median_us * np.exp(spread * quantiles)
    return Timing(TimedJob(job, rows, engine, lambda: None, 1), tuple(np.array_split(samples, 5)))


def test_a_known_wait_is_measured():
    """Whatever else the machine does: the wait itself says how long it took."""
    seen_us = []

    def wait() -> None:
        begun_ns = time.perf_counter_ns()
        while (waited_ns := time.perf_counter_ns() - begun_ns) < 2_000_000:
            pass
        seen_us.append(waited_ns / 1e3)

    probe = TimedJob("infer", 1, "onnx", wait, 5)
    (found,) = measure([probe], Console(quiet=True), HostWatch())
    kept = np.reshape(seen_us, (timing_module.BLOCKS, 5))[1:]
    beyond_us = np.stack(found.blocks_us) - kept
    assert beyond_us.min() >= 0
    assert np.median(beyond_us) < 200


def test_the_profile_is_what_the_samples_say():
    timings = [timing("infer", n, 10.0 * n, "onnx") for n in (1, 64)]
    timings += [timing("infer", 1, 999.0, "numpy")]
    timings += [timing(job, 12, 120.0) for job in ("install", "commit", "tick", "fit", "twin")]
    profile = summarise(timings, untrained())
    assert profile.jobs.infer.rows == (1, 64), "the first engine is the one a tier takes"
    assert profile.jobs.infer.us == pytest.approx((10.0, 640.0), rel=1e-3)
    assert profile.jobs.infer.kind == "measured"
    assert profile.jobs.infer.jitter == pytest.approx(0.1 * 2.0 / 1.2816, rel=0.01)
    assert profile.jobs.tick.median_us(1) == pytest.approx(10.0, rel=1e-3)
    assert 1.05 <= profile.jobs.twin.factor < 1.2


def test_blocks_that_disagree_widen_the_factor():
    blocks = tuple(np.full(10, us) for us in (100.0, 100.0, 180.0))
    assert Timing(TimedJob("infer", 1, "", lambda: None, 1), blocks).factor == pytest.approx(1.8)


def test_a_job_whose_blocks_lie_apart_is_unsteady_unless_a_disk_is_waited_for():
    def once(job: str, *blocks_us: float) -> Timing:
        return Timing(TimedJob(job, 1, "", int, 1), tuple(np.full(5, us) for us in blocks_us))

    steady, commit = once("infer", 10.0, 11.0, 10.5), once("commit", 100.0, 900.0)
    assert unsteady([steady, commit]) == ""
    told = unsteady([steady, once("tick", 30.0, 30.0, 90.0), commit])
    assert told == "tick took 3 times as long at one time as at another"


def test_what_cannot_be_timed_here_is_scaled_and_says_so():
    profile = summarise([timing("infer", 1, 88.0, "numpy")], untrained())
    server = hardware.load("edge-server")
    ratio = 88.0 / server.jobs.infer.us[0]
    assert profile.jobs.fit.us[0] == pytest.approx(server.jobs.fit.us[0] * ratio, rel=1e-3)
    assert profile.jobs.fit.kind == "estimated"
    assert profile.jobs.infer.kind == "measured"


def test_noise_in_the_wrong_direction_makes_no_descending_curve():
    timings = [timing("infer", 1, 12.0, "onnx"), timing("infer", 2, 11.0, "onnx")]
    assert summarise(timings, untrained()).jobs.infer.us == pytest.approx((12.0, 12.0), rel=1e-3)


def test_the_file_says_the_same_as_the_profile(tmp_path):
    profile = hardware.load("thor")
    path = tmp_path / "thor.toml"
    path.write_text(toml(profile))
    assert hardware.load(str(path)) == profile


def test_this_machine_becomes_the_hardware_of_a_deployment(tmp_path, monkeypatch, capsys):
    """Every job that this machine can do, each a few times, however busy it is."""

    def few(*what):
        return [probe._replace(calls=min(probe.calls, 5)) for probe in probes(*what)]

    monkeypatch.setattr(timing_module, "BLOCKS", 2)
    monkeypatch.setattr(module, "probes", few)
    monkeypatch.setattr(module, "_refuse", lambda _disturbed: None)
    calibrate(None, tmp_path / "mine.toml")
    out = capsys.readouterr().out
    for word in ("infer", "onnx", "numpy", "install", "commit", "tick", "fit", "twin"):
        assert word in out
    cell = tmp_path / "cell.toml"
    cell.write_text('name = "cell"\n[edge]\nhardware = "mine.toml"\n')
    profile = hardware.load(load(cell).edge.hardware)
    assert profile.jobs.infer.rows == BATCHES
    kinds = {getattr(profile.jobs, job).kind for job in hardware.Jobs.__struct_fields__}
    assert kinds == {"measured"}
    assert profile.jobs.infer.us[-1] > profile.jobs.infer.us[0] > 1.0
    assert 1e4 < profile.duration_ns("twin", 10, np.random.default_rng(0)) / 1e3 < 1e6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cell.toml", "mine.toml"]
    line = profile.jobs.infer.roofline
    assert set(line.networks) == set(map(name_of, NETWORKS))
    assert (line.held_out, line.engine, line.rows_range) == (name_of(HELD_OUT), "onnx", (1, 64))
    own = untrained()
    assert profile.jobs.infer.us_of(work(own.manifest.spec, (256, 256)), 8) == (
        profile.jobs.infer.median_us(8)
    )
    assert profile.jobs.infer.us_of(work(own.manifest.spec, (1024, 1024)), 8) > (
        2 * profile.jobs.infer.median_us(8)
    )


def test_a_policy_of_ones_own_is_the_one_that_is_timed(tmp_path):
    from tierloop.cloud.export import export

    mlp = Mlp.random(POLICY, (8,), 0)
    artefact = export(
        mlp, version=3, parents=(), software="t", seed=0, trained_on=(), samples={}, metrics={}
    )
    (tmp_path / "mine.policy").write_bytes(pack(artefact))
    found = list(takewhile(lambda probe: probe.job == "infer", probes(artefact, tmp_path)))
    answers = [(probe.network, probe.run().shape) for probe in found if probe.rows == 2]
    networks = ["8", "8", *map(name_of, (*NETWORKS, HELD_OUT))]
    assert answers == [(name, (2, POLICY.horizon, POLICY.action.size)) for name in networks]
    profile = summarise([timing("infer", 1, 5.0, "onnx")], artefact)
    assert "policy v3 on onnx" in profile.jobs.infer.source


@pytest.mark.parametrize("when", ["before", "meanwhile", "unsteady"])
def test_a_disturbed_machine_is_refused_and_leaves_no_profile(tmp_path, monkeypatch, when):
    """Before anything is prepared, and by what was seen while the jobs ran."""
    said = {"before": ["busy"], "meanwhile": ["", "busy"], "unsteady": ["", ""]}[when]
    monkeypatch.setattr(HostWatch, "verdict", lambda _watch: said.pop(0))
    monkeypatch.setattr(HostWatch, "look", lambda *_: None)
    monkeypatch.setattr(module, "unsteady", lambda _timings: "busy" if when == "unsteady" else "")
    measured = []

    def none(*_):
        measured.append(when)
        return []

    monkeypatch.setattr(module, "measure", none)
    monkeypatch.setattr(module, "probes", none)
    with pytest.raises(UserError, match=r"^this machine was disturbed: busy; .* stop other work"):
        calibrate(None, tmp_path / "mine.toml")
    assert bool(measured) == (when != "before")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "words"),
    [("mine.txt", "must end in .toml"), ("there.toml", "already exists"), ("no/x.toml", "no such")],
)
def test_a_bad_target_is_refused_before_anything_is_measured(tmp_path, name, words):
    (tmp_path / "there.toml").write_text("")
    with pytest.raises(UserError, match=words):
        calibrate(None, tmp_path / name)


def test_a_file_that_is_no_policy_is_refused(tmp_path):
    (tmp_path / "x.policy").write_bytes(b"\x93")
    with pytest.raises(UserError, match="not a tierloop policy"):
        calibrate(tmp_path / "x.policy", Path(tmp_path / "h.toml"))
