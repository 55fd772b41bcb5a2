"""The comparison: its test by simulation, its plumbing on two real processes."""

import json
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tierloop import contract
from tierloop.bench import compare as c
from tierloop.bench import compare_command
from tierloop.bench import hot_paths as h
from tierloop.bench.checkout import MARK, Side, checkout
from tierloop.bench.statistics import Verdict
from tierloop.contract.errors import UserError

HERE = Path(contract.__path__[0]).resolve().parent


def pairs(rng, ratio, count=8, spread=0.02):
    base = 6.0 * np.exp(0.2 * rng.standard_normal(count))
    return [(b, b * ratio * np.exp(spread * rng.standard_normal())) for b in base]


@pytest.mark.parametrize(
    ("ratio", "least", "most"), [(1.0, 0, 2), (1.05, 0, 6), (1.2, 195, 200), (0.8, 0, 0)]
)
def test_alarms_over_many_noisy_comparisons(ratio, least, most):
    rng = np.random.default_rng(1)
    alarms = sum(
        c.compared({"codec": pairs(rng, ratio)}, {})[0].verdict is Verdict.FAIL for _ in range(200)
    )
    assert least <= alarms <= most


def test_many_benchmarks_together_do_not_raise_more_alarms():
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(200):
        found = c.compared({f"b{i}": pairs(rng, 1.05) for i in range(10)}, {})
        alarms += any(one.verdict is Verdict.FAIL for one in found)
    assert alarms <= 6


def test_equals_pass_and_what_is_unclear_is_not_a_pass():
    rng = np.random.default_rng(3)
    (equal,) = c.compared({"codec": pairs(rng, 1.0)}, {})
    (unclear,) = c.compared({"codec": pairs(rng, 1.05, spread=0.2)}, {})
    (single,) = c.compared({"codec": pairs(rng, 1.0, count=1)}, {})
    assert equal.verdict is Verdict.PASS
    assert unclear.verdict is single.verdict is Verdict.INCONCLUSIVE


@pytest.fixture(scope="module")
def worker():
    """One of this checkout."""
    with closing(h.HotWorker(Side("here", HERE))) as worker:
        yield worker


@pytest.fixture
def broken(tmp_path):
    """A checkout whose codec raises, and nothing else of it."""
    for name in ("device", "sim", "edge", "cloud", "policy", "link", "benchmarks"):
        (tmp_path / name).symlink_to(HERE / name)
    for name in ("contract", "tierloop"):
        shutil.copytree(HERE / name, tmp_path / name, symlinks=True)
    with (tmp_path / "contract" / "codec.py").open("a") as file:
        file.write("\n\ndef broken(self, data):\n    raise OSError('broken')\n\n\n")
        file.write("Codec.decode = broken\n")
    return Side("broken", tmp_path)


def test_what_runs_at_the_base_and_not_at_the_head_fails_and_says_why(broken):
    found = c.compare(Side("here", HERE), broken, ["codec", "fading_tick"], 2)
    by_name = {one.name: one for one in found}
    assert by_name["codec"].verdict is Verdict.FAIL
    assert by_name["codec"].why == "does not run at broken: OSError: broken"
    assert by_name["fading_tick"].pairs == 2


def test_what_does_not_run_at_the_base_is_inconclusive(broken):
    (one,) = c.compare(broken, Side("here", HERE), ["codec"], 2)
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.why == "does not run at broken: OSError: broken"


def test_nor_is_the_head_broken_if_the_base_ends_amid_its_turns(side):
    ends = BEFORE.replace("sys.stdout.flush()", "sys.stdout.flush(); calls == 10 or sys.exit()")
    (one,) = c.compare(side("base", ends), side("head", BEFORE), ["codec"], 2)
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.why.startswith("does not run at base: its worker ended")


BEFORE = """
import json, sys
for line in sys.stdin:
    name, calls, repeats = json.loads(line)
    known = name in ("codec", "tick", "serve")
    print(json.dumps({"us": [7.0] * repeats} if known else {"error": f"KeyError: {name!r}"}))
    sys.stdout.flush()
"""
"""A worker that does not know the question for its paths, as they were before 2026-11-29."""


@pytest.fixture
def side(tmp_path):
    """Makes a checkout of nothing but a worker, whose script is given."""

    def make(name, script, place="benchmarks"):
        folder = tmp_path / name / place
        folder.mkdir(parents=True)
        (folder / "hot_worker.py").write_text(script)
        (tmp_path / name / MARK).touch()
        return Side(name, tmp_path / name)

    return make


def of_paths(*names):
    """A worker that lists these paths and is fast at each."""
    listing = f"if name == '?': print(json.dumps({{'paths': {list(names)}}}), flush=True); continue"
    begun = BEFORE.replace("    known", f"    {listing}\n    known")
    return begun.replace('("codec", "tick", "serve")', repr(names))


def test_nor_does_a_head_pass_that_cannot_be_imported(side, tmp_path, capsys):
    base, head = side("base", of_paths("codec")).folder, side("head", "import nowhere").folder
    out = tmp_path / "out.json"
    assert compare_command.compare(str(base), str(head), (), 2, out) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tierloop: broken: codec does not run at {head}: ")
    assert line.endswith("its worker ended: ModuleNotFoundError: No module named 'nowhere'")
    (entry,) = json.loads(out.read_bytes())
    assert (entry["verdict"], entry["ratio"], entry["pairs"]) == ("fail", None, 0)
    assert compare_command.compare(str(head), str(base), (), 2, None) == 4


def test_each_side_runs_its_own_hot_paths(side):
    changed = BEFORE.replace("7.0", "14.0")
    base, head = side("base", BEFORE), side("head", changed, "benchmarks/rig")
    (one,) = c.compare(base, head, ["codec"], 2)
    assert (one.base_us, one.ratio, one.verdict) == (7.0, pytest.approx(2.0), Verdict.FAIL)


def test_a_worker_lists_its_paths_and_one_of_before_has_those_of_before(worker, side):
    assert worker.paths() == ["codec", "segment", "fading_tick", "fading_hand_over", "serve"]
    assert h.paths(side("old", BEFORE)) == ["codec", "segment", "tick", "hand_over", "serve"]
    assert h.paths(side("new", of_paths("codec", "plan"))) == ["codec", "plan"]


def test_a_path_of_one_side_is_named_and_compared_only_if_asked_for(side, capsys):
    base, head = side("base", of_paths("codec", "tick")), side("head", of_paths("codec", "plan"))
    chosen, alone = compare_command.hot(base, head, ())
    assert chosen == ["codec"]
    assert alone == [
        "not compared: tick, which only base has", "not compared: plan, which only head has",
    ]  # fmt: skip
    folders = str(base.folder), str(head.folder)
    assert compare_command.compare(*folders, (), 2, None) == 0
    assert "not compared: tick" in capsys.readouterr().out
    assert compare_command.compare(*folders, ["tick"], 2, None) == 3
    assert compare_command.compare(*folders, ["plan"], 2, None) == 4
    with pytest.raises(UserError, match="unknown hot path 'plane'; did you mean 'plan'"):
        compare_command.hot(base, head, ["plane"])
    with pytest.raises(UserError, match="no hot path in common"):
        compare_command.compare(
            folders[0], str(side("other", of_paths("plan")).folder), (), 2, None
        )


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ('{"ms": [1.0]}', "odd: unknown answer of its worker: Object contains unknown field `ms`"),
        ('{"us": [1.0, 2.0]}', "odd: its worker did not answer with 1 figures"),
        ("hello", "odd: unknown answer of its worker: JSON is malformed"),
    ],
)
def test_an_answer_outside_the_protocol_is_refused_by_name(side, answer, why):
    worker = h.HotWorker(side("odd", f"input(); print({answer!r}, flush=True); input()"))
    with pytest.raises(h.CannotRunError) as caught:
        worker.us("codec", 1, 1)
    worker.close()
    assert str(caught.value).startswith(why)


def test_a_request_that_a_worker_does_not_know_does_not_end_it(worker):
    assert worker._ask(("codec", 1)).error.startswith("TypeError")
    assert worker.us("codec", 1, 2)
    with pytest.raises(h.CannotRunError, match="here: there is no hot path 'nothing'"):
        worker.us("nothing", 1, 1)


def test_a_path_that_there_is_not_is_inconclusive(side):
    (one,) = c.compare(side("a", BEFORE), side("b", BEFORE), ["nothing"], 1)
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.why == "does not run at a: KeyError: 'nothing'"


def test_a_planted_slowdown_is_larger_than_none():
    plain = Side("base", HERE, 0.0)
    (slow,) = c.compare(plain, Side("head", HERE, 0.5), ["codec"], 3)
    assert slow.ratio > 1.25


def test_a_worker_takes_its_files_away(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    worker = h.HotWorker(Side("here", HERE))
    assert worker.us("serve", 1, 1)
    assert list(tmp_path.glob("tierloop-hot-*"))
    worker.close()
    assert not list(tmp_path.glob("tierloop-hot-*"))


def test_a_checkout_is_a_ref_or_a_folder(side, tmp_path, monkeypatch):
    def git(*arguments):
        done = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        subprocess.run(done, cwd=here, check=True, capture_output=True)

    here = side("here", BEFORE).folder
    git("init", "-q")
    git("commit", "-qm", "none", "--allow-empty")
    git("add", ".")
    git("commit", "-qm", "one")
    old = here / "benchmarks" / "hot_worker.py"
    old.rename(here / "benchmarks" / "moved.py")
    (here / "benchmarks" / "rig").mkdir()
    (here / "benchmarks" / "moved.py").rename(here / "benchmarks" / "rig" / "hot_worker.py")
    monkeypatch.chdir(here)
    with checkout("HEAD") as found:
        assert (found.folder / "benchmarks" / "hot_worker.py").exists()
        tree = found.folder
    assert not tree.exists()
    with checkout(str(here)) as found:
        assert found.folder == here
    with pytest.raises(UserError, match="nowhere: no folder; nor is it a git ref"):
        checkout("nowhere").__enter__()
    with pytest.raises(UserError, match=r"not a checkout: it has no pyproject\.toml; nor is it"):
        checkout(str(tmp_path)).__enter__()
    with (
        checkout("HEAD~1") as without,
        pytest.raises(UserError, match=r"HEAD~1: .* it has no benchmarks/rig/hot_worker\.py or"),
    ):
        h.paths(without)


def test_mistakes_are_one_line():
    with pytest.raises(UserError, match="--pairs 1: must be 2 or more"):
        compare_command.compare(str(HERE), str(HERE), ["codec"], 1, None)
