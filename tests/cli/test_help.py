"""The help of the command line: its panels, what it imports, and every example, run as printed."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from tierloop.calibrate import calibrate
from tierloop.cli.app import app
from tierloop.exit_codes import ExitCode

ROOT = Path(__file__).parents[2]
COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
TIERS = ("device", "edge", "cloud")
HEAVY = {
    "matplotlib", "numpy", "onnx", "onnxruntime", "pyarrow",
    "pybullet", "ray", "rich", "scipy", "torch", "zmq",
}  # fmt: skip
SMALL = """
name = "sorting-cell"
scenario = { task = "reach", body = "plant", robots = ["arm-0"], control_hz = 60 }
learner.rounds_max = 0
cloud.ray = "none"
"""


def shown(*words: str) -> list[str]:
    return CliRunner().invoke(app, [*words, "--help"], prog_name="tierloop").output.splitlines()


def example(command: str) -> list[str]:
    """The words of the command line below "Example:", which is the last thing that help says."""
    lines = shown(command)
    name, *words = shlex.split(
        "\n".join(lines[lines.index("  Example:") + 1 :]).replace("\\\n", "")
    )
    assert (name, words[0]) == ("tierloop", command)
    return words


def runs_as_printed(command: str, *codes: int) -> None:
    """The example of a command, in this process and the current folder."""
    done = CliRunner().invoke(app, example(command), catch_exceptions=False)
    assert done.exit_code in (codes or (ExitCode.FINE,)), done.output


def started(words: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-Pm", "tierloop", *words], cwd=folder, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, output


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, which has a small deployment by the name of the shipped one."""
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "sorting-cell.toml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


RUN = """
import atexit, sys
from tierloop.__main__ import main
atexit.register(lambda: sys.stderr.write("pandas" if "pandas" in sys.modules else ""))
sys.argv = ["tierloop", *sys.argv[1:]]
sys.exit(main())
"""


def test_the_examples_about_a_record_run_as_printed_and_load_no_pandas(folder):
    """Which pyarrow does where it is asked to look at an array: a third of a second."""
    done = subprocess.run(
        [sys.executable, "-Pc", RUN, *example("run")],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (ExitCode.FINE, "")
    page = folder / "runs" / "first" / "report.html"
    page.unlink()
    runs_as_printed("report")
    assert page.is_file()
    runs_as_printed("replay")


def test_the_examples_of_the_tiers_make_one_stack(folder):
    """Each ends with 0, which it does only if it was in session with another."""
    file = folder / "deployments" / "sorting-cell.toml"
    file.write_text(f"{SMALL}run.duration_s = 12\n")
    processes = [started(example(tier), folder) for tier in TIERS]
    for code, output in [ended(process) for process in processes]:
        assert code == 0, output


def test_the_example_of_calibrate_writes_a_profile(folder, monkeypatch):
    """As printed, but only one row of inference is timed, however busy the machine is."""
    probes = calibrate.probes
    monkeypatch.setattr(calibrate, "probes", lambda *what: [next(probes(*what))])
    monkeypatch.setattr(calibrate, "_refuse", lambda _disturbed: None)
    runs_as_printed("calibrate")
    assert (folder / "host.toml").is_file()


@pytest.mark.parametrize(
    "command", sorted(COMMANDS.keys() - {*TIERS, "run", "report", "replay", "calibrate"})
)
def test_an_example_runs_as_printed(folder, command):
    if command in ("compare", "same"):
        two_commits(folder)
    judged = (ExitCode.FINE, ExitCode.BROKEN, ExitCode.INCONCLUSIVE)
    runs_as_printed(command, *(judged if command == "bench" else (ExitCode.FINE,)))


WORKER = """
import json, sys
for line in sys.stdin:
    name, _, repeats = json.loads(line)
    answer = {"paths": ["codec"]} if name == "?" else {"us": [7.0] * repeats}
    print(json.dumps(answer), flush=True)
"""


def two_commits(folder: Path) -> None:
    """Makes `folder` a repository of this code, with HEAD~1, and a worker that is quick."""
    (folder / "tierloop").symlink_to(ROOT / "tierloop")
    (folder / "benchmarks" / "rig").mkdir(parents=True)
    (folder / "benchmarks" / "rig" / "hot_worker.py").write_text(WORKER)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], *[["commit", "-q", "--allow-empty", "-mx"]] * 2):
        subprocess.run([*git, *words], cwd=folder, check=True)


def test_the_commands_are_listed_in_four_panels_and_none_is_cut_short():
    panels: dict[str, list[str]] = {}
    for line in shown():
        if line.endswith(":") and not line.startswith(" "):
            words = panels.setdefault(line[:-1], [])
        elif line.startswith("  ") and panels:
            words += line.split()[:1]
    del panels["Options"]
    assert list(panels) == ["Run", "Look", "Measure", "Make"]
    listed = [name for names in panels.values() for name in names if name in COMMANDS]
    assert sorted(listed) == sorted(COMMANDS)
    assert "..." not in "\n".join(shown()).partition("[ARGS]...")[2]


def test_help_imports_nothing_heavy():
    """Exact where a stopwatch is not: `tierloop --help` takes a tenth of a second without these."""
    code = (
        "import sys; from tierloop.__main__ import main; sys.argv = ['tierloop', '--help']\n"
        f"try: main()\nfinally: sys.stderr.write(' '.join({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert "Usage: tierloop" in done.stdout
    assert done.stderr == ""
