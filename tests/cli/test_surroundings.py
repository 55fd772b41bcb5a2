"""The surroundings of a command: locale, umask, home, folders that take nothing, odd names."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deployments" / "sorting-cell.toml"
PLAIN_C = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
BEGIN = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tierloop.__main__ import main;"
    "sys.exit(main())"
)


SMALL = """
name = "cell"
scenario = { task = "reach", body = "plant", robots = ["arm-0"] }
"""


def started(cwd, *words, umask=-1, without=(), **more):
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return subprocess.run(
        [sys.executable, "-m", "tierloop", *words], cwd=cwd, umask=umask, timeout=100,
        env=kept | {"PYTHONPATH": str(ROOT)} | more, capture_output=True,
    )  # fmt: skip


def modes(folder):
    found = [folder, *folder.rglob("*")]
    assert len(found) > 5
    return {stat.S_IMODE(path.stat().st_mode) for path in found}


@pytest.mark.parametrize(
    ("umask", "allowed", "surroundings"), [(0o000, 0o755, PLAIN_C), (0o077, 0o700, {})]
)
def test_a_run_takes_any_name_in_any_locale_and_no_umask_lets_others_write(
    tmp_path, umask, allowed, surroundings
):
    """It says the name as well as it can; a strict umask stays."""
    place = tmp_path / "spä ce"
    place.mkdir()
    (place / "cäll.toml").write_text(SMALL)
    words = ("run", "spä ce/cäll.toml", "--clock", "virtual", "--for", "0.3", "--out", "spä ce/rün")
    done = started(tmp_path, *words, umask=umask, without=("HOME",), **surroundings)
    assert b"Traceback" not in done.stderr
    assert (place / "rün" / "summary.json").is_file(), done
    assert (b"sp? ce" if surroundings else "spä ce".encode()) in done.stdout
    assert all(mode & ~allowed == 0 for mode in modes(place / "rün")), modes(place / "rün")


@pytest.mark.parametrize("kind", ["file", "out"])
def test_a_name_that_no_record_could_hold_is_one_line(tmp_path, kind):
    odd = tmp_path / os.fsdecode(b"b\xe4d")
    odd.mkdir()
    shutil.copy(SHIPPED, odd / "d.toml")
    file = odd / "d.toml" if kind == "file" else SHIPPED
    done = started(tmp_path, "run", file, "--clock", "virtual", "--out", odd / "r")
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.endswith("the name of the file is not UTF-8 text; rename the file")
    assert not (odd / "r").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "x\ny\x1b[31m.toml"), r"tierloop: x\ny\x1b[31m.toml: No such file"),
        (("run", str(SHIPPED), "--set", 'name="a\\nb"'), r"'a\nb' is not a valid name"),
        (("run", str(SHIPPED), "--set", "a\nb=1"), r"--set: unknown key 'a\nb'"),
    ],
)
def test_whatever_a_user_brings_a_mistake_is_one_line(tierloop, words, said):
    done = tierloop(*words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert said in line
    assert line.isprintable()


@pytest.mark.parametrize("option", ["-E", "-I"])
def test_a_python_that_passes_over_the_environment_begins_anew_once(tmp_path, option):
    done = subprocess.run(
        [sys.executable, option, "-c", BEGIN, "--help"], cwd=ROOT, timeout=60,
        env=os.environ | PLAIN_C, capture_output=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Usage: tierloop" in done.stdout
