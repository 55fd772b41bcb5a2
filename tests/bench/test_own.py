"""Bring your own: what docs/benchmarks.md promises, from a repository outside of this one."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stranger import DEPLOYMENT, DOCS, block, python, tierloop

from tierloop.bench.own import measure
from tierloop.bench.own.body import embody
from tierloop.bench.own.policy import OnnxFile
from tierloop.cli.app import main
from tierloop.contract.codec import Codec
from tierloop.contract.messages import Observation
from tierloop.edge.config import EdgeConfig


@pytest.fixture
def here(monkeypatch, capfd):
    """The command in this process, which lacks none of the extras."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["tierloop", *words])
        try:
            code = main()
        except SystemExit as left:
            code = left.code
        return subprocess.CompletedProcess(words, code, *capfd.readouterr())

    return run


@pytest.mark.slow
def test_the_command_of_the_docs_measures_a_strangers_policy_and_body(outside):
    (command,) = re.findall(r"^tierloop (bench --policy .*)$", DOCS, re.M)
    done = tierloop(*command.split(), "--for", "1.5", "--out", "out")
    assert done.returncode == 0, done.stderr
    for metric in ("inference", "decision", "tick", "decision_energy"):
        assert re.search(rf"own +{metric} ", done.stdout)
    assert re.search(r"own +decision +p99 .* 20000 us +pass", done.stdout)
    assert re.search(r"own +decision_energy .* 50 mJ +pass", done.stdout)
    assert (outside / "out" / "bench.json").exists()


def test_the_plugin_loads_no_room_before_a_test_asks_for_it():
    code = "import sys, tierloop.bench.plugin; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    loaded = done.stdout.split()
    assert "numpy" not in loaded
    assert [name for name in loaded if name.startswith("tierloop.")] == [
        "tierloop.bench", "tierloop.bench.plugin", "tierloop.contract", "tierloop.contract.version",
    ]  # fmt: skip


def test_a_budget_below_the_truth_is_exit_3_and_one_line(outside):
    (outside / "b.toml").write_text(
        '[[budget]]\nmetric = "decision"\nlimit = 0.5\nunit = "us"\n'
        '[[budget]]\nmetric = "inference"\nlimit = 1e6\nunit = "us"\n'
    )
    done = tierloop(
        "bench", "--policy", "my.onnx", "--body", "my_package:MyBody", "--for", "0.3",
        "--budgets", "b.toml", "--out", "out",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(
        r"tierloop: budget exceeded: decision p50 is [\d.]+ us \(99% interval [\d.]+ to [\d.]+, "
        r"n \d+\), limit 0\.5 us",
        line,
    )


def test_a_run_cut_short_is_inconclusive_exit_4(outside, here):
    (outside / "b.toml").write_text(
        '[[budget]]\nmetric = "tick"\npercentile = 99.9\nlimit = 1e9\nunit = "us"\n'
    )
    done = here(
        "bench", "--policy", "my.onnx", "--body", "my_package:MyBody", "--for", "0.01",
        "--budgets", "b.toml", "--out", "out",
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "inconclusive: tick p99.9" in done.stderr
    assert "too few blocks" in done.stderr


@pytest.mark.slow
def test_the_plugin_as_the_docs_show_it(outside):
    example = block("python", "def test_")
    assert len(example.strip().splitlines()) <= 4
    (outside / "test_mine.py").write_text(example)
    (outside / "test_broken.py").write_text(
        "def test_broken(budget):\n"
        '    mine = budget("my.onnx", body="my_package:MyBody", seconds=1.5)\n'
        '    mine.within("decision", limit=0.5, unit="us")\n'
        "def test_short(budget):\n"
        '    mine = budget("my.onnx", body="my_package:MyBody", seconds=0.01)\n'
        '    mine.within("tick", percentile=99.9, limit=1e9, unit="us")\n'
        "def test_misfit(budget):\n"
        '    budget("my.onnx", body="my_package:Nobody")\n'
        "def test_unknown(budget):\n"
        '    mine = budget("my.onnx", body="my_package:MyBody", seconds=0.01)\n'
        '    mine.within("decisions", limit=1, unit="us")\n'
    )
    done = python("-m", "pytest", "-rs", "-p", "no:cacheprovider")
    assert "3 failed, 1 passed, 1 skipped" in done.stdout, done.stdout
    assert "budget exceeded: decision p50 is" in done.stdout
    assert "inconclusive: tick p99.9" in done.stdout
    assert "\ntierloop: --body my_package:Nobody: AttributeError: module" in done.stdout
    assert "\ntierloop: budget decisions: unknown metric 'decisions'" in done.stdout
    assert "During handling" not in done.stdout


def test_a_budget_on_another_clock_says_on_which_one_it_is_taken(outside, here):
    (outside / "mine.toml").write_text(DEPLOYMENT.replace('clock = "cpu"', 'clock = "wall"'))
    done = here(
        "bench", "--policy", "my.onnx", "--body", "my_package:MyBody", "--deployment", "mine.toml"
    )
    assert done.returncode == 2
    assert re.fullmatch(
        r"tierloop: mine.toml:\d+: budget 2 \(decision_energy\): clock 'wall' does not fit; "
        r"decision_energy needs clock = \"cpu\"\n", done.stderr,
    )  # fmt: skip


def test_benchmarks_by_name_are_not_measured_with_a_policy(outside, here):
    done = here("bench", "tick", "--policy", "my.onnx", "--body", "my_package:MyBody")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "tierloop: tick: --policy and --body cannot be combined with names of benchmarks\n"
    )


def test_a_policy_that_answers_no_numbers_is_not_measured(outside):
    class Mute:
        version = 0
        work = None

        def __init__(self, spec):
            self.spec = spec

        def act(self, features):
            return np.full((1, 8, 3), np.nan, np.float32)

    chosen = OnnxFile(Path("my.onnx"), None, embody("my_package:MyBody")[1])
    edge = measure.Edge(Mute(chosen.spec), EdgeConfig())
    data = Codec().encode(
        Observation(device="own", boot=1, seq=1, captured_ns=1, features=np.zeros(4, np.float32))
    )
    with pytest.raises(RuntimeError, match="refused what the policy answered"):
        edge.answer(data)


def test_what_the_extras_of_the_docs_do_not_bring_is_one_line(outside):
    done = tierloop("bench", "serving", "--for", "0.1", "--out", "out")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(
        r"tierloop: \w+ is needed for this: pip install 'tierloop\[(sim|cloud)\]'", line
    )
    assert not (outside / "out").exists()
