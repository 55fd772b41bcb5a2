"""Ray wraps the same hands: same results, whoever dies; loopback, token, and gone at the end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cloud.cluster import SOCKET_ROOM, RayBackend
from cloud.config import CloudConfig, LearnerConfig
from sim.scenario import Scenario
from tierloop.processes import ROLES

HERE = Path(__file__).parent


def test_ray_gives_what_the_serial_wiring_gives_whoever_dies_and_leaves_nothing(tmp_path):
    """One cluster for all of it: a start takes ten seconds."""
    done = subprocess.run(
        [sys.executable, HERE / "cluster_run.py", tmp_path],
        stdout=subprocess.PIPE,
        cwd=HERE.parents[1],
        timeout=100,
        check=True,
        text=True,
    )
    saw = json.loads(done.stdout.splitlines()[-1])
    assert saw["same"]
    assert saw["same_fit"]
    assert saw["victim_replaced"]
    assert saw["same_after_kill"], "the jobs of the killed worker were not repeated"
    assert saw["listening"]
    assert set(saw["listening"]) <= {"127.0.0.1", "::1"}
    assert saw["environment"] == ["token"]
    assert saw["nice"] == [12, 12], "workers do not yield"
    assert saw["alive"] == saw["files"] == [], "something is left"
    assert saw["cancelled_s"] < 2
    assert saw["close_s"] < 3


def backend(state: Path) -> RayBackend:
    return RayBackend((Scenario(), LearnerConfig(), "1"), CloudConfig(), state)


def test_its_folder_is_private_empty_and_short_enough(tmp_path, monkeypatch):
    far = backend(tmp_path / ("x" * 100))
    folder = far._place()
    assert len(str(folder)) <= SOCKET_ROOM
    assert folder.stat().st_mode & 0o77 == 0
    far._scratch.close()
    monkeypatch.setattr("cloud.cluster.SOCKET_ROOM", 1000)
    (tmp_path / "ray" / "session").mkdir(parents=True)
    folder = backend(tmp_path)._place()
    assert folder == tmp_path / "ray"
    assert folder.stat().st_mode & 0o77 == 0
    assert list(folder.iterdir()) == []


CLOUD = """
import sys
from pathlib import Path
from cloud.config import CloudConfig, LearnerConfig
from cloud.main import run
from sim.scenario import policy_spec
from tierloop.deployment import Deployment
from tierloop.twin import twin_of
bind, state, about = sys.argv[1], Path(sys.argv[2]), Deployment(name="one")
spec, twin = policy_spec(about.scenario), twin_of(about, "1")
sys.exit(run(CloudConfig(), LearnerConfig(), spec, twin, bind, state, 1, None, "1"))
"""


@pytest.mark.process
@pytest.mark.parametrize("after_s", [1.0, 2.0])
def test_a_cloud_told_to_stop_while_ray_starts_stops_in_time(tmp_path, address, after_s):
    cloud = subprocess.Popen(
        [sys.executable, "-c", CLOUD, address, str(tmp_path)], cwd=HERE.parents[1]
    )
    time.sleep(after_s)
    started = psutil.Process(cloud.pid).children(recursive=True)
    begun = time.monotonic()
    os.kill(cloud.pid, signal.SIGTERM)
    assert cloud.wait(20) in (0, -signal.SIGTERM)
    assert time.monotonic() - begun < ROLES["cloud"].grace_s, "a supervisor would have killed it"
    psutil.wait_procs(started, 2)
    assert [p for p in started if p.is_running() and p.status() != "zombie"] == []
