"""The command line as a user meets it: real processes, real ports, real signals."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ports import free_address

from tierloop.contract.messages import Report
from tierloop.stack.record import reports
from tierloop.views.finish import join

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deployments" / "sorting-cell.toml"


def options(tmp_path: Path) -> list[str]:
    """One robot, a serial cloud, fresh ports, the record under `tmp_path`."""
    keys = {
        "links.device_edge": free_address(),
        "links.edge_cloud": free_address(),
        "cloud.ray": "none",
        "scenario.robots": '["arm-0"]',
        "learner.rounds_max": 1,
    }
    sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    return [*sets, "--out", str(tmp_path / "run")]


def ended(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tierloop", *words],
        capture_output=True, text=True, timeout=60, cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@contextlib.contextmanager
def started(mark: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command under way; all its descendants can be found by `mark`, and none outlives this."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tierloop", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        env=os.environ | {"TIERLOOP_TEST": str(mark)},
    )  # fmt: skip
    try:
        yield process
    finally:
        for pid in marked(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def marked(mark: Path) -> list[int]:
    """The processes alive whose environment carries `mark`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and process.environ().get("TIERLOOP_TEST") == str(mark):
                found.append(process.pid)
    return found


def until(condition, process: subprocess.Popen[str], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "gone.toml"], "gone.toml: No such file"),
        (["run", str(SHIPPED), "--set", "scenario.scan_hs=3"], "did you mean 'scan_hz'?"),
        (["edge", str(SHIPPED), "--set", "edge.batch_max=0"], "key 'batch_max' in [edge]"),
        (["cloud", str(SHIPPED), "--for", "-1"], "--for: must be greater than 0"),
        (["device", str(SHIPPED), "--seed", "-1"], "--seed: must lie"),
        (["report", "."], "not a record of a run"),
        (["doctor", "gone.toml"], "gone.toml: No such file"),
    ],
)
def test_a_users_mistake_is_one_line_and_nothing_is_written(tierloop, tmp_path, words, expected):
    done = tierloop(*words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tier", ["run", "edge", "cloud"])
def test_a_port_in_use_is_refused_before_anything_is_written(tierloop, tmp_path, tier):
    words = options(tmp_path)
    key = "links.edge_cloud" if tier == "cloud" else "links.device_edge"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = tierloop(tier, str(SHIPPED), *words, "--set", f"{key}={address}")
    assert done.returncode == 2
    assert done.stderr == (
        f"tierloop: {address}: the port is in use; stop the process that listens there, or choose "
        "another port\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_in_it_is_left_alone(tierloop, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    done = tierloop("run", str(SHIPPED), *options(tmp_path))
    assert done.returncode == 2
    assert "not empty and not a record of a run" in done.stderr
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_another_python_is_refused_in_one_line():
    code = (
        "import sys; sys.version_info = (3, 10, 1, 'final', 0); sys.argv = ['tierloop', 'run'];"
        "from tierloop.__main__ import main; code = main();"
        "assert 'msgspec' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == "tierloop: needs Python 3.11 to 3.13, this is Python 3.10\n"


@pytest.mark.parametrize(
    ("words", "library", "extra"),
    [
        (["run", str(SHIPPED), "--clock", "virtual", "--for", "0.3"], "pyarrow", "report"),
        (["run", str(SHIPPED), "--for", "0.3"], "matplotlib", "report"),
        (["sweep", str(SHIPPED), "--over", "run.duration_s=0.3"], "scipy", "bench"),
        (["sweep", str(SHIPPED), "--over", "run.duration_s=0.3"], "jinja2", "report"),
    ],
)
def test_what_the_end_of_a_command_needs_is_asked_for_at_its_start(
    tierloop, tmp_path, monkeypatch, words, library, extra
):
    monkeypatch.setitem(sys.modules, library, None)
    done = tierloop(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"tierloop: {library} is needed for this: pip install 'tierloop[{extra}]'\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_tier_alone_needs_nothing_that_a_report_needs(tmp_path):
    words = ["device", str(SHIPPED), *options(tmp_path), "--for", "0.5"]
    code = (
        f"import sys; sys.modules['matplotlib'] = None; sys.argv = ['tierloop', *{words}];"
        "from tierloop.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")


def test_a_device_loads_nothing_that_belongs_to_other_tiers():
    code = (
        "import sys, tierloop.stack.wall.processes, tierloop.device.main, tierloop.sim.cell;"
        "heavy = {'ray', 'torch', 'onnx', 'onnxruntime', 'typer', 'rich', 'matplotlib', 'pyarrow'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_schema_and_doctor_print(tierloop, tmp_path):
    assert json.loads(ended("schema", cwd=tmp_path).stdout)["$ref"] == "#/$defs/DeploymentFile"
    (tmp_path / "cell.toml").write_text(
        f'name = "c"\n[links]\ndevice_edge = "{free_address()}"\nedge_cloud = "{free_address()}"\n'
    )
    done = tierloop("doctor", "cell.toml")
    assert done.returncode == 0, done.stdout
    assert "onnxruntime" in done.stdout


@pytest.mark.process
@pytest.mark.parametrize("after_s", [0.05, 0.4, 1.1, 2.3])
def test_ctrl_c_at_any_moment_ends_all_within_five_seconds(tmp_path, after_s):
    with started(tmp_path, "run", str(SHIPPED), *options(tmp_path)) as process:
        time.sleep(after_s)
        asked_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
        assert time.monotonic() - asked_s < 5
        assert marked(tmp_path) == []
    if "<frozen runpy>" not in output or "tierloop/" in output:  # else not one line of ours had run
        assert "Traceback" not in output
    if not (tmp_path / "run" / "parts").exists():
        assert process.returncode in (130, -signal.SIGINT)
        return
    assert process.returncode in (0, 4), output
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["schema_version"] == 3
    assert list((tmp_path / "run").glob(".*")) == [], "a draft was left behind"


SWALLOWING = """
import os, signal, sys
from importlib.machinery import ModuleSpec
from tierloop.__main__ import main


class Swallower:
    def find_spec(self, name, *_):
        return ModuleSpec(name, self) if name == "tierloop.cli.app" else None

    def create_module(self, _):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            pass

    def exec_module(self, module):
        module.main = lambda: 0


sys.meta_path.insert(0, Swallower())
sys.exit(main())
"""


def test_a_ctrl_c_that_an_import_swallows_still_ends_the_command():
    """As CPython does in callbacks of its import locks."""
    done = subprocess.run([sys.executable, "-c", SWALLOWING], cwd=ROOT, timeout=30, check=False)
    assert done.returncode == 130


@pytest.mark.process
def test_a_killed_edge_comes_back_and_a_killed_supervisor_leaves_no_orphan(tmp_path):
    out = tmp_path / "run"

    def heard(name: str) -> list[Report]:
        return [report for report in reports.read(out / "parts") if report.process == name]

    with started(tmp_path, "run", str(SHIPPED), *options(tmp_path)) as process:
        until(lambda: any(len(report.decisions) for report in heard("arm-0")), process)
        (edge,) = (
            child.pid
            for child in psutil.Process(process.pid).children()
            if child.cmdline()[-1] == "edge"
        )
        os.kill(edge, signal.SIGKILL)
        until(lambda: len({report.boot for report in heard("edge")}) == 2, process)
        assert len({report.boot for report in heard("arm-0")}) == 1, "the device was touched"
        assert len(marked(tmp_path)) == 4
        process.kill()
        process.wait()
        end = time.monotonic() + 5
        while marked(tmp_path) and time.monotonic() < end:
            time.sleep(0.05)
        assert marked(tmp_path) == []
    s = join(out)
    assert [(f["process"], f["fault"]) for f in s["faults"]] == [
        ("edge", "died"),
        ("edge", "restarted"),
    ]
    assert s["action_age_ms"]["n"] > 0
    assert s["experience"]["missing"] == s["experience"]["altered"] == 0
    again = ended("run", str(SHIPPED), *options(tmp_path), cwd=tmp_path)
    assert again.returncode == 2
    assert "the record of another deployment (links.device_edge is " in again.stderr


def test_tiers_of_two_deployments_do_not_join_and_say_so(tmp_path):
    words = options(tmp_path)[:-2]
    edge = ["edge", str(SHIPPED), *words, "--set", "scenario.horizon=4"]
    device = ["device", str(SHIPPED), *words, "--for", "30"]
    with started(tmp_path, *edge, "--out", str(tmp_path / "edge")):
        done = ended(*device, "--out", str(tmp_path / "device"), cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("arm-0: the edge refused this device: ")
    assert "start both from the same deployment file" in line
