"""The Ray backend: does the work on actors of a cluster, in a child begun anew at each try.

`import ray` and a cluster's start hold an interpreter for seconds, and what fails half way cannot
be tried again in the same process. So both happen in a child (cloud/ray/driver.py).
"""

import contextlib
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from importlib.util import find_spec
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from tierloop.cloud.backend import Cancelled, Fit, Fitted
from tierloop.cloud.config import CloudConfig
from tierloop.cloud.ray.driver import Start
from tierloop.cloud.ray.place import RayPlace, environment
from tierloop.cloud.rollout import Play
from tierloop.contract.errors import UserError
from tierloop.contract.messages import Segment

START_S, JOIN_S, KNOCK_S = 120.0, 6.0, 3.0
"""How long a start may take in all; until a cluster that is there has let us in; until it is found
that nobody listens at its address."""

LEAVE_S = 0.5
"""How long Ray may take to sign off from a cluster that goes on."""

GONE_S = 1.0
"""How long what was killed may take to be gone, on a machine that pages."""

NOTICE_S = 0.2
"""How soon a waiting call notices that the backend is closed."""

_DRIVER = (sys.executable, "-c", "from tierloop.cloud.ray.driver import main; main()")


class RayBackend:
    """Jobs on `config.workers` actors. A worker that dies is restarted and its job repeated.

    If the cluster as a whole dies, the call under way raises, and the next one begins anew.
    """

    def __init__(self, hands: tuple[Any, ...], config: CloudConfig, state: Path) -> None:
        """`hands` are the arguments of Hands; `state` is where Ray may keep its files.

        Raises UserError if Ray is not installed.
        """
        if find_spec("ray") is None:
            raise UserError(
                f"cloud.ray = '{config.ray}' needs Ray: pip install 'tierloop[cloud]', or "
                "cloud.ray = 'none'"
            )
        self._about, self._config = hands, config
        self._place = RayPlace(config, state)
        self._cancelled = threading.Event()
        self._in_call = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def start(self) -> str:
        """Starts or joins the cluster and its workers; what there is to say of it, or "".

        Raises RuntimeError, TimeoutError or OSError if that fails, and leaves nothing then.
        """
        with self._in_call:
            return self._start()

    def play(self, jobs: Sequence[Play]) -> list[list[Segment]]:
        return list(self._call("play", jobs))

    def fit(self, job: Fit) -> Fitted:
        fitted: Fitted = self._call("fit", job)
        return fitted

    def pids(self) -> list[int]:
        """The workers' process numbers."""
        return list(self._call("pids"))

    def cancel(self) -> None:
        self._cancelled.set()

    def close(self) -> None:
        """Leaves the cluster; one that was started here is ended, with its files."""
        self._cancelled.set()
        with self._in_call:
            self._end()

    @property
    def _local(self) -> bool:
        return self._config.ray == "local"

    def _call(self, name: str, *arguments: Any) -> Any:
        with self._in_call:
            if self._pipe is None:
                self._start()
            try:
                self._say((name, arguments))
                return self._answer()
            except OSError:
                self._end()
                raise

    def _start(self) -> str:
        self._end()
        try:
            return self._raise()
        except BaseException:
            self._end()
            raise

    def _raise(self) -> str:
        until_s, said = time.monotonic() + START_S, ""
        if self._local:
            where, said = self._place.arguments()
        else:
            where = {"address": self._config.ray}
            _knock(self._config.ray)
        self._pipe, far = Pipe()
        with far:
            self._child = subprocess.Popen(
                (*_DRIVER, str(far.fileno())),
                pass_fds=(far.fileno(),),
                stdin=subprocess.DEVNULL,
                env=self._environment(),
            )
        config = self._config
        self._say(Start(where, config.workers, config.niceness, self._about))
        self._answer(until_s, "it loads")
        joined_s = until_s if self._local else min(until_s, time.monotonic() + JOIN_S)
        self._answer(joined_s, f"{config.ray} answers as a cluster does")
        self._answer(until_s, f"{config.workers} workers have a processor each")
        return said

    def _say(self, order: Any) -> None:
        assert self._pipe is not None
        self._pipe.send(order)

    def _answer(self, until_s: float = math.inf, what: str = "") -> Any:
        """What the child says next. Raises Cancelled, RuntimeError for a job's failure, OSError."""
        assert self._pipe is not None
        assert self._child is not None
        begun_s = time.monotonic()
        while not self._pipe.poll(NOTICE_S):
            if self._cancelled.is_set():
                raise Cancelled
            if time.monotonic() > until_s:
                raise TimeoutError(f"waited {until_s - begun_s:.0f} s until {what}, in vain")
        try:
            good, result = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(GONE_S)
            code = self._child.returncode
            raise ConnectionError(f"Ray's process ended, exit {code}; its log says why") from None
        if not good:
            raise RuntimeError(result)
        return result

    def _environment(self) -> dict[str, str]:
        """Who joins a cluster may say how, in the environment."""
        return environment() if self._local else dict(os.environ)

    def _end(self) -> None:
        """Nothing of the child and its cluster is left after this.

        Where the pipe breaks the child leaves at once, and what it started is no longer found below
        it: so a cluster of our own is killed first.
        """
        if self._child is not None and self._local:
            _kill(self._child)
        if self._pipe is not None:
            self._pipe.close()
        if self._child is not None and not self._local:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(LEAVE_S)
            _kill(self._child)
        self._place.close()
        self._pipe = self._child = None


def _knock(address: str) -> None:
    """Raises ConnectionError if nobody listens at the address of a cluster."""
    if address == "auto":
        return
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), KNOCK_S).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(f"no Ray cluster listens at {address}: {error}") from None


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kills a process and all below it, until they are gone.

    All are stopped first: what is killed beside a living parent would be started again, by a parent
    that then leaves it behind.
    """
    doomed: set[psutil.Process] = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(child.pid)
        root.suspend()
        while fresh := set(root.children(recursive=True)) - doomed:
            doomed |= fresh
            for process in fresh:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()
    for process in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    child.kill()
    child.wait()
    until_s = time.monotonic() + GONE_S
    while any(map(_runs, doomed)) and time.monotonic() < until_s:
        time.sleep(0.005)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
