"""The comparison: its test by simulation, its plumbing on two real processes."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tierloop import contract
from tierloop.bench import compare as c
from tierloop.bench import compare_command
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
        c.judge({"codec": pairs(rng, ratio)}, {})[0].verdict is Verdict.FAIL for _ in range(200)
    )
    assert least <= alarms <= most


def test_many_benchmarks_together_do_not_raise_more_alarms():
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(200):
        found = c.judge({f"b{i}": pairs(rng, 1.05) for i in range(10)}, {})
        alarms += any(one.verdict is Verdict.FAIL for one in found)
    assert alarms <= 6


def test_equals_pass_and_what_is_unclear_is_not_a_pass():
    rng = np.random.default_rng(3)
    (equal,) = c.judge({"codec": pairs(rng, 1.0)}, {})
    (unclear,) = c.judge({"codec": pairs(rng, 1.05, spread=0.2)}, {})
    (single,) = c.judge({"codec": pairs(rng, 1.0, count=1)}, {})
    assert equal.verdict is Verdict.PASS
    assert unclear.verdict is single.verdict is Verdict.INCONCLUSIVE


@pytest.fixture
def broken(tmp_path):
    """A checkout whose codec raises, and nothing else of it."""
    for name in ("contract", "device", "sim", "edge", "cloud", "policy", "link"):
        shutil.copytree(HERE / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(HERE / "tierloop", tmp_path / "tierloop", symlinks=True)
    with (tmp_path / "contract" / "codec.py").open("a") as file:
        file.write("\n\ndef broken(self, data):\n    raise OSError('broken')\n\n\n")
        file.write("Codec.decode = broken\n")
    return c.Side("broken", tmp_path)


def test_what_runs_at_the_base_and_not_at_the_head_fails_and_says_why(broken):
    found = c.compare(c.Side("here", HERE), broken, ["codec", "tick"], 2)
    by_name = {one.name: one for one in found}
    assert by_name["codec"].verdict is Verdict.FAIL
    assert by_name["codec"].why == "broken: OSError: broken"
    assert by_name["tick"].pairs == 2


def test_what_does_not_run_at_the_base_is_inconclusive(broken):
    (one,) = c.compare(broken, c.Side("here", HERE), ["codec"], 2)
    assert (one.verdict, one.why) == (Verdict.INCONCLUSIVE, "broken: OSError: broken")


def test_nor_does_a_head_pass_that_cannot_be_imported(tmp_path, capsys):
    for name in ("contract", "tierloop"):
        (tmp_path / name).mkdir()
    (tmp_path / "tierloop" / "__init__.py").write_text("")
    out = tmp_path / "out.json"
    assert compare_command.compare(str(HERE), str(tmp_path), ["codec"], 2, out) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tierloop: broken: codec, which runs at {HERE}: {tmp_path}: ")
    assert line.endswith(
        "its process ended: ModuleNotFoundError: No module named 'tierloop.contract'"
    )
    (entry,) = json.loads(out.read_bytes())
    assert (entry["verdict"], entry["ratio"], entry["pairs"]) == ("fail", None, 0)


def test_a_path_that_there_is_not_is_inconclusive():
    (one,) = c.compare(c.Side("a", HERE), c.Side("b", HERE), ["nothing"], 1)
    assert one.verdict is Verdict.INCONCLUSIVE
    assert "KeyError" in one.why


def test_a_planted_slowdown_is_larger_than_none():
    plain = c.Side("base", HERE, 0.0)
    (slow,) = c.compare(plain, c.Side("head", HERE, 0.5), ["codec"], 3)
    assert slow.ratio > 1.25


def test_a_worker_takes_its_files_away(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    worker = c.Worker(c.Side("here", HERE))
    assert worker.us("serve", 1, 1)
    assert list(tmp_path.glob("tierloop-hot-*"))
    worker.close()
    assert not list(tmp_path.glob("tierloop-hot-*"))


def test_a_checkout_is_a_ref_or_a_folder(tmp_path, monkeypatch):
    def git(*arguments):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "contract").mkdir()
    (tmp_path / "contract" / "old.py").write_text("")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one")
    (tmp_path / "contract" / "old.py").unlink()
    monkeypatch.chdir(tmp_path)
    with c.checkout("HEAD") as side:
        assert (side.folder / "contract" / "old.py").exists()
        tree = side.folder
    assert not tree.exists()
    with c.checkout(str(tmp_path)) as side:
        assert not (side.folder / "contract" / "old.py").exists()
    with pytest.raises(UserError, match="nowhere: neither a checkout"), c.checkout("nowhere"):
        pass


def test_mistakes_are_one_line():
    with pytest.raises(UserError, match="unknown hot path 'codek'; did you mean 'codec'"):
        compare_command.hot(["codek"])
    with pytest.raises(UserError, match="--pairs 1: two at least"):
        compare_command.compare(str(HERE), str(HERE), ["codec"], 1, None)
