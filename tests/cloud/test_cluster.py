"""Ray wraps the same hands: same results, whoever dies; loopback, token, and gone at the end."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tierloop.cloud.config import CloudConfig, LearnerConfig
from tierloop.cloud.ray import cluster, place
from tierloop.cloud.ray.cluster import RayBackend
from tierloop.contract.errors import UserError
from tierloop.sim.scenario import Scenario

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


def backend(state: Path, **config) -> RayBackend:
    return RayBackend((Scenario(), LearnerConfig(), "1"), CloudConfig(**config), state)


FAKE = """
import os, sys, time
from multiprocessing.connection import Connection
pipe, lives = Connection(int(sys.argv[1])), os.environ["LIVES"]
with open(lives, "a") as file:
    file.write("x")
life = os.path.getsize(lives)
start = pipe.recv()
if "FAILS" in os.environ and life == 1:
    pipe.send((False, "no luck"))
    time.sleep(60)
for _ in range(3):
    pipe.send((True, None))
while True:
    name, arguments = pipe.recv()
    if name == "play" and life == 1:
        os._exit(3)
    pipe.send((False, "spoilt") if name == "fit" else (True, [life]))
"""
"""Speaks as the driver does; its first life fails to start, or ends when told to play."""


@pytest.fixture
def started():
    """The processes that were started since, by whatever runs here; other tests' may live on."""
    before = {child.pid for child in psutil.Process().children()}
    return lambda: [child for child in psutil.Process().children() if child.pid not in before]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_DRIVER", (sys.executable, "-c", FAKE))
    monkeypatch.setenv("LIVES", str(tmp_path / "lives"))


def test_a_failed_start_is_told_and_the_next_begins_from_nothing(
    tmp_path, fake, started, monkeypatch
):
    monkeypatch.setenv("FAILS", "1")
    monkeypatch.setattr(place, "SOCKETS", "/s")
    one = backend(tmp_path / "state")
    with pytest.raises(RuntimeError, match="no luck"):
        one.start()
    assert started() == []
    assert list((tmp_path / "state").iterdir()) == [], "its files are left"
    assert one.start() == ""
    assert one.pids() == [2]
    one.close()
    assert started() == []
    assert list((tmp_path / "state").iterdir()) == []


def test_a_cluster_that_dies_is_told_and_the_next_call_begins_anew(tmp_path, fake):
    one = backend(tmp_path)
    one.start()
    with pytest.raises(ConnectionError, match="Ray's process ended, exit 3"):
        one.play([])
    assert one.play([]) == [2]
    with pytest.raises(RuntimeError, match="spoilt"):
        one.fit(None)
    assert one.play([]) == [2], "a job that fails costs the cluster"
    one.close()


PARENT = """
import os, subprocess, sys
from multiprocessing.connection import Connection
pipe, below = Connection(int(sys.argv[1])), subprocess.Popen(["sleep", "60"])
pipe.recv()
for _ in range(3):
    pipe.send((True, None))
try:
    while pipe.recv():
        pipe.send((True, [below.pid]))
except EOFError:
    os._exit(0)
"""
"""Leaves as soon as the pipe breaks, as the driver does, and leaves a process of its own behind."""


def test_what_the_child_started_is_found_before_the_child_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_DRIVER", (sys.executable, "-c", PARENT))
    kill = cluster._kill

    def slow(child):
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.3)
        kill(child)

    monkeypatch.setattr(cluster, "_kill", slow)
    one = backend(tmp_path)
    one.start()
    (below,) = map(psutil.Process, one.pids())
    try:
        one.close()
        assert not below.is_running() or below.status() == psutil.STATUS_ZOMBIE
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            below.kill()


@pytest.mark.parametrize("ray", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_nobody_listens_is_told_at_once(tmp_path, ray):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = ray.format(nobody.getsockname()[1])
    one = backend(tmp_path, ray=address)
    with pytest.raises(ConnectionError, match=f"no Ray cluster listens at {address}"):
        one.start()
    one.close()


def test_who_listens_and_is_no_cluster_is_waited_for_in_bounds(tmp_path, started, monkeypatch):
    mute = "import sys, time; from multiprocessing.connection import Connection as C; "
    mute += "pipe = C(int(sys.argv[1])); pipe.send((True, None)); time.sleep(60)"
    monkeypatch.setattr(cluster, "_DRIVER", (sys.executable, "-c", mute))
    monkeypatch.setattr(cluster, "JOIN_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = backend(tmp_path, ray=f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(TimeoutError, match="answers as a cluster does, in vain"):
            one.start()
    assert started() == []
    one.close()


def test_without_ray_the_remedy_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs Ray: pip install 'tierloop\[cloud\]'"):
        backend(tmp_path)


def test_its_own_cluster_hears_nothing_of_the_users_environment(tmp_path, monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH", "RAY_ANYTHING", "http_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "x")
    found = backend(tmp_path)._environment()
    assert [name for name in found if name.startswith("RAY_")] == [
        "RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
        "RAY_USAGE_STATS_ENABLED",
    ]  # fmt: skip
    assert not {"http_proxy", "HTTPS_PROXY"} & set(found)
    assert found["PATH"] == os.environ["PATH"]
    joined = backend(tmp_path, ray="127.0.0.1:6379")._environment()
    assert joined["RAY_AUTH_TOKEN_PATH"] == "x", "who joins a cluster may say how"


def test_its_folder_is_private_empty_and_takes_sockets(tmp_path, monkeypatch):
    monkeypatch.setattr(place, "SOCKETS", "/s")
    (tmp_path / "ray" / "session").mkdir(parents=True)
    one = backend(tmp_path)
    where, said = one._place.arguments()
    assert where["_temp_dir"] == str(tmp_path / "ray")
    assert said == ""
    assert (tmp_path / "ray").stat().st_mode & 0o77 == 0
    assert list((tmp_path / "ray").iterdir()) == []
    one.close()
    assert not (tmp_path / "ray").exists()


@pytest.mark.parametrize("kind", ["long", "a file", "read-only"])
def test_where_its_folder_cannot_be_another_is_taken_and_named(tmp_path, monkeypatch, kind):
    far = tmp_path / ("x" * 100)
    far.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(far))
    state = far if kind == "long" else tmp_path / "state"
    if kind == "a file":
        state.write_text("")
    if kind == "read-only":
        monkeypatch.setattr(place, "takes_sockets", lambda at, below: at.parent == Path("/tmp"))
    one = backend(state)
    where, said = one._place.arguments()
    folder = Path(where["_temp_dir"])
    assert folder.parent == Path("/tmp")
    assert folder.stat().st_mode & 0o77 == 0
    assert f"lie in {folder}" in said
    one.close()
    assert not folder.exists()


def test_no_place_at_all_is_one_line_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(place, "takes_sockets", lambda *_: False)
    one = backend(tmp_path)
    with pytest.raises(OSError, match="name one in TMPDIR") as error:
        one.start()
    assert "\n" not in str(error.value)
    one.close()


@pytest.mark.parametrize("shared", ["missing", "small", "read-only"])
def test_where_shared_memory_cannot_hold_the_store_a_disk_does(tmp_path, monkeypatch, shared):
    found = tmp_path / "shm"
    if shared != "missing":
        found.mkdir()
    free = {"missing": 0, "small": 64 * 2**20, "read-only": 0}[shared]
    monkeypatch.setattr(place, "SHARED", found)
    monkeypatch.setattr(place, "free_bytes", lambda at: free if at == found else 2**40)
    one = backend(tmp_path)
    where, said = one._place.arguments()
    assert where["_plasma_directory"] == where["_temp_dir"]
    assert f"{found} has no room for Ray's object store; it lies in" in said
    monkeypatch.setattr(place, "free_bytes", lambda _: 2**20)
    with pytest.raises(OSError, match=r"object store of 150 MiB .*lower cloud.object_store_mb"):
        one._place.arguments()
    one.close()


CLOUD = """
import sys
from pathlib import Path
from tierloop.cloud.config import CloudConfig, LearnerConfig
from tierloop.cloud.main import run
from tierloop.sim.scenario import policy_spec
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile
from tierloop.stack.twin import twin_of
bind, state, about = sys.argv[1], Path(sys.argv[2]), resolve(DeploymentFile(name="one"))
spec, twin = policy_spec(about.scenario), twin_of(about, "1")
robots = about.scenario.robots
sys.exit(run(
    config=CloudConfig(), learner=LearnerConfig(), spec=spec, robots=robots, twin=twin, bind=bind,
    state=state, seed=1, report_to=None, software="1",
))
"""


@pytest.mark.process
@pytest.mark.parametrize("after_s", [1.0, 2.0])
def test_a_cloud_told_to_stop_while_ray_starts_stops_in_time(tmp_path, address, after_s):
    cloud = subprocess.Popen(
        [sys.executable, "-c", CLOUD, address, str(tmp_path)], cwd=HERE.parents[1]
    )
    time.sleep(after_s)
    started = psutil.Process(cloud.pid).children(recursive=True)
    os.kill(cloud.pid, signal.SIGTERM)
    assert cloud.wait(20) in (0, -signal.SIGTERM)
    psutil.wait_procs(started, 2)
    assert [p for p in started if p.is_running() and p.status() != "zombie"] == []


def test_a_cloud_told_to_stop_does_not_wait_for_a_start_that_never_ends(tmp_path, address):
    mute = "from tierloop.cloud.ray import cluster; import sys; "
    mute += "cluster._DRIVER = (sys.executable, '-c', 'import time; time.sleep(100)')\n"
    cloud = subprocess.Popen(
        [sys.executable, "-c", mute + CLOUD, address, str(tmp_path)], cwd=HERE.parents[1]
    )
    end_s = time.monotonic() + 30
    while not (started := psutil.Process(cloud.pid).children()) and time.monotonic() < end_s:
        time.sleep(0.05)
    os.kill(cloud.pid, signal.SIGTERM)
    try:
        assert cloud.wait(30) == 0
        assert [p.is_running() for p in started] == [False]
    finally:
        cloud.kill()
        cloud.wait()
