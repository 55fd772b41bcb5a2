"""The one door to Ray: the same hands as actors, on a local cluster or one that is there."""

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from cloud.backend import Cancelled, Fit, Fitted, Hands
from cloud.config import CloudConfig
from cloud.rollout import Play
from cloud.scratch import Scratch
from contract.messages import Segment

RETRIES = 3
"""How often Ray repeats a call whose worker died under it; every call may be repeated."""

START_S = 60.0
LEAVE_S, STOP_S = 0.5, 0.5
"""How long Ray may take to sign off, and then to find that all is over."""

LOOK_S = 0.2
"""How soon a waiting call notices that the backend is closed."""

SOCKET_ROOM = 107 - len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""The longest folder in which Ray's sockets fit the 107 bytes of a Unix address."""


class Worker(Hands):
    """Hands in a process of their own, which yields to others on its machine."""

    def __init__(self, niceness: int, *about: Any) -> None:
        least = max(niceness, os.getpriority(os.PRIO_PROCESS, 0))
        os.setpriority(os.PRIO_PROCESS, 0, least)
        super().__init__(*about)

    def pid(self) -> int:
        return os.getpid()


class RayBackend:
    """Jobs on `config.workers` actors. A worker that dies is restarted and its job repeated.

    Ray belongs to a thread of its own: what it starts on Linux dies with the thread that started
    it. If the local cluster as a whole dies, so does this process; its state is in the store.
    """

    def __init__(self, hands: tuple[Any, ...], config: CloudConfig, state: Path) -> None:
        """`hands` are the arguments of Hands; `state` is where Ray may keep its files."""
        self._about, self._config = hands, config
        self._state = state
        self._folder: Path | None = None
        self._scratch: Scratch | None = None
        self._cancelled, self._closing = threading.Event(), threading.Event()
        self._up = threading.Event()
        self._in_call = threading.Lock()
        self._owner: threading.Thread | None = None
        self._before: set[psutil.Process] = set()
        self._workers: list[Any] = []

    def start(self) -> None:
        """Starts or joins the cluster and its workers. Raises RuntimeError if that fails."""
        failure = list[Exception]()
        self._before = set(psutil.Process().children())
        self._owner = threading.Thread(target=self._own, args=(failure,), daemon=True)
        self._owner.start()
        while not self._up.wait(LOOK_S):
            self._unless_cancelled()
        if failure:
            self._owner.join(STOP_S)
            if self._local:
                self._kill()
            self._unless_cancelled()
            raise RuntimeError(f"Ray did not start: {failure[0]}") from failure[0]

    def play(self, jobs: Sequence[Play]) -> list[list[Segment]]:
        with self._in_call:
            return self._spread("play", jobs)

    def fit(self, job: Fit) -> Fitted:
        with self._in_call:
            fitted: Fitted = self._spread("fit", [job])[0]
        return fitted

    def pids(self) -> list[int]:
        """The workers' process numbers."""
        import ray

        return list(ray.get([worker.pid.remote() for worker in self._workers]))

    def cancel(self) -> None:
        self._cancelled.set()

    def close(self) -> None:
        """Leaves the cluster; one that was started here is ended, with its files.

        Workers keep nothing that matters: after LEAVE_S, enough for this process to sign off,
        they are killed; at once while Ray starts, for then it hears nothing. A process starts one
        local cluster in its life.
        """
        self._cancelled.set()
        if self._owner is None:
            return
        starting = not self._up.is_set()
        if starting or self._in_call.acquire(timeout=LEAVE_S):
            self._closing.set()
            self._owner.join(0 if starting else LEAVE_S)
        if self._local:
            self._kill()
        self._owner.join(STOP_S)
        if self._owner.is_alive():
            atexit.register(_exit_at_once)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._scratch is not None:
            self._scratch.close()

    @property
    def _local(self) -> bool:
        return self._config.ray == "local"

    def _own(self, failure: list[Exception]) -> None:
        try:
            self._raise()
        except Exception as error:
            failure.append(error)
        self._up.set()
        if not failure:
            self._closing.wait()
        with contextlib.suppress(Exception):
            import ray

            ray.shutdown()

    def _kill(self) -> None:
        """Kills all of a local cluster, until it is gone."""
        for _ in range(20):
            mine = [p for p in psutil.Process().children() if p not in self._before]
            if not mine:
                return
            for process in mine:
                for each in (*_children(process), process):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        each.kill()
            psutil.wait_procs(mine, 0.1)

    def _raise(self) -> None:
        if self._local:
            _prepare_environment()
            self._folder = self._place()
            where = {
                "num_cpus": self._config.workers,
                "num_gpus": 0,
                "include_dashboard": False,
                "object_store_memory": self._config.object_store_mb * 2**20,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": str(self._folder),
                "_system_config": {"worker_niceness": 0},
            }
        else:
            where = {"address": self._config.ray}
        import ray

        logging.getLogger("ray").setLevel(logging.ERROR)
        ray.init(log_to_driver=False, configure_logging=False, **where)
        actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=RETRIES)(Worker)
        self._workers = [
            actor.remote(self._config.niceness, *self._about) for _ in range(self._config.workers)
        ]
        self._await([worker.pid.remote() for worker in self._workers])

    def _place(self) -> Path:
        """An empty private folder for Ray: under the state, or the system's if that is too long."""
        wanted = (self._state / "ray").absolute()
        if len(str(wanted)) > SOCKET_ROOM:
            self._scratch = Scratch()
            return self._scratch.path
        shutil.rmtree(wanted, ignore_errors=True)
        wanted.mkdir(parents=True, mode=0o700)
        return wanted

    def _await(self, refs: list[Any]) -> None:
        """Returns when all of `refs` are there. Raises Cancelled, or TimeoutError after START_S."""
        import ray

        for _ in range(round(START_S / LOOK_S)):
            self._unless_cancelled()
            if not ray.wait(refs, num_returns=len(refs), timeout=LOOK_S)[1]:
                return
        raise TimeoutError(f"no {len(refs)} workers with a processor each in {START_S:.0f} s")

    def _spread(self, method: str, jobs: Sequence[Any]) -> list[Any]:
        """Each job to the next idle worker; results in the jobs' order."""
        import ray

        waiting, idle = deque(enumerate(jobs)), list(self._workers)
        running: dict[Any, tuple[int, Any]] = {}
        results: list[Any] = [None] * len(jobs)
        try:
            while waiting or running:
                self._unless_cancelled()
                while waiting and idle:
                    at, job = waiting.popleft()
                    worker = idle.pop()
                    running[getattr(worker, method).remote(job)] = at, worker
                for ref in ray.wait(list(running), timeout=LOOK_S)[0]:
                    at, worker = running.pop(ref)
                    results[at] = ray.get(ref)
                    idle.append(worker)
        finally:
            running.clear()
        return results

    def _unless_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled


def _prepare_environment() -> None:
    """Tells Ray what it reads at import: token on, loopback only, no reports home.

    https://docs.ray.io/en/latest/ray-security/token-auth.html; with clustering off, Ray keeps
    127.0.0.1 as the node's address and every server of it listens there alone.
    """
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


def _exit_at_once() -> None:
    """Ends the interpreter where Ray, stuck in a cluster half started, would hang or crash it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []
