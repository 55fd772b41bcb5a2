"""The supervisor: starts a table of processes, restarts what dies, stops all of it in order."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import psutil

from tierloop.stack.wall.processes import Process
from tierloop.stack.wall.pulse import Pulse

BACK_OFF_S = (0.2, 5.0)
"""The first and the longest pause before a restart; it doubles in between."""
STEADY_S = 10.0
"""A process that has lived this long starts again with the shortest pause."""
USER_ERROR = 2
"""A child's exit code for a mistake that no restart would mend: before its first report alone."""
END_S = 3.0
"""What has been killed has this long to be gone; a process that waits for a disk may take for
ever."""
LAST_BYTES = 1 << 14
"""Of a log so much is read for its last line."""

_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}

Listener = Callable[[str, str, str], None]


class Child:
    """One process of the table across all its lives."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self.log = log
        self.popen: subprocess.Popen[bytes] | None = None
        self.lives = 0
        self.started_s = 0.0
        self.pause_s = BACK_OFF_S[0]
        self.due_s = 0.0
        self.held_s = 0.0
        self.boot = 0
        self.pulse: Pulse | None = None
        self.known = False
        """Whether a report has come from any of its lives."""
        self._log_from = 0

    @property
    def state(self) -> str:
        """ "starting" until its first report has come, "up" from then on, "down" in between."""
        if self.popen is None or self.pulse is None:
            return "down"
        return "up" if self.pulse.heard else "starting"

    def start(self, now_s: float) -> None:
        """Begins a life. Its boot is above every other's, whatever the wall clock says.

        Raises OSError where the host has no process or descriptor to give.
        """
        self.boot = max(self.boot + 1, time.time_ns())
        with self._opened() as log:
            self._log_from = log.tell()
            self.popen = subprocess.Popen(
                self.process.command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | _ENVIRONMENT,
            )
        assert self.popen.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # died at once: the next look finds out
            self.popen.stdin.write(self.process.begin(self.boot))
        self.lives += 1
        self.pulse = Pulse(self.popen.pid, now_s, self.process.patience)
        self.started_s = now_s

    def beat(self) -> None:
        """A report has come."""
        self.known = True
        if self.pulse is not None:
            self.pulse.beat()

    def hung(self, now_s: float) -> str:
        """Why the life under way counts as hung, or nothing."""
        return self.pulse.hung(now_s) if self.pulse is not None else ""

    def died(self, now_s: float) -> int | None:
        """The exit code of a life that has just ended, or None."""
        if self.popen is None or (code := self.popen.poll()) is None:
            return None
        self.release()
        steady = now_s - self.started_s > STEADY_S
        self.pause_s = BACK_OFF_S[0] if steady or self.lives == 1 else self.pause_s
        self.pause(now_s)
        return code

    def pause(self, now_s: float) -> None:
        """The next life is due later, and the one after a failure of that later still."""
        self.due_s = now_s + self.pause_s
        self.pause_s = min(2 * self.pause_s, BACK_OFF_S[1])

    def release(self) -> None:
        """Lets go of a process that has ended."""
        assert self.popen is not None
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        self.popen = self.pulse = None

    def _opened(self) -> BinaryIO:
        """The log, or nothing where the disk has no room for one: a life is worth more."""
        try:
            return self.log.open("ab")
        except OSError:
            return open(os.devnull, "ab")

    def last_line(self) -> str:
        """The last line that the newest life has printed and that is not empty."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._log_from, log.seek(0, os.SEEK_END) - LAST_BYTES))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            lines = []
        return next((line for line in reversed(lines) if line.strip()), "it gave no reason")


class Supervisor:
    """Keeps the processes of one table alive. All calls from one thread, the main one.

    `tell(process, name, detail)` hears what happens: started, restarted, died, hung, killed,
    stopped, start_failed (the host refused), left (it does not end though killed). What ends by
    itself, or hangs, is started again; only what its user got wrong is not,
    and that shows before a process has ever been heard.
    Each process leads a session of its own, so that what it started ends with it, even if
    it dies without a word.
    """

    def __init__(self, processes: Iterable[Process], logs: Path, tell: Listener) -> None:
        self.children = [Child(p, logs / f"{p.name}.log") for p in processes]
        self.mistake: Child | None = None
        self._tell = tell

    def step(self) -> None:
        """Starts what is due, ends what hangs, notes deaths; sets `mistake` if there is one."""
        now_s = time.monotonic()
        for child in self.children:
            if (popen := child.popen) is not None:
                code = child.died(now_s)
                if code is not None:
                    self._clear(child, popen.pid)
                    self._bury(child, code)
                elif why := child.hung(now_s):
                    self._tell(child.process.name, "hung", why)
                    self._clear(child, popen.pid)
                    child.pulse = Pulse(popen.pid, now_s, child.process.patience)
            due_s = max(child.due_s, child.held_s)
            if child.popen is None and now_s >= due_s and self.mistake is None:
                self._start(child, now_s)

    def _start(self, child: Child, now_s: float) -> None:
        try:
            child.start(now_s)
        except OSError as error:
            child.pause(now_s)
            self._tell(child.process.name, "start_failed", error.strerror or str(error))
            return
        life = "started" if child.lives == 1 else "restarted"
        self._tell(child.process.name, life, f"start number {child.lives}")

    def _clear(self, child: Child, session: int) -> None:
        """Ends all of a session, and tells what of it does not go."""
        for pid in end_session(session):
            self._tell(child.process.name, "left", f"process {pid} has not ended after SIGKILL")

    def heard(self, name: str) -> None:
        """A report has come from a process: it is ready."""
        for child in self.children:
            if child.process.name == name:
                child.beat()

    def crash(self, name: str, down_s: float) -> None:
        """Kills a process of this table, if it is up, and starts it again `down_s` later."""
        for child in self.children:
            if child.process.name == name:
                child.held_s = max(child.held_s, time.monotonic() + down_s)
                if child.popen is not None:
                    child.popen.kill()

    def stop(self, wait: Callable[[float], bool]) -> None:
        """Ends everything, role by role in the table's order, then whatever they left behind.

        `wait(seconds)` passes the time between looks; True from it means: kill at once.
        """
        for _, group in groupby(self.children, lambda child: child.process.role):
            alive = {c: c.popen for c in group if c.popen is not None}
            for popen in alive.values():
                popen.terminate()
            deadline_s = time.monotonic() + max((c.process.grace_s for c in alive), default=0)
            while any(popen.poll() is None for popen in alive.values()):
                if wait(0.02) or time.monotonic() > deadline_s:
                    break
            for child, popen in alive.items():
                self._end(child, popen)

    def _end(self, child: Child, popen: subprocess.Popen[bytes]) -> None:
        name, late = child.process.name, popen.poll() is None
        self._clear(child, popen.pid)
        code = popen.poll()
        if late or code is None:
            self._tell(name, "killed", f"did not stop within {child.process.grace_s} s")
        else:
            self._tell(name, "stopped", describe(code))
        child.release()

    def _bury(self, child: Child, code: int) -> None:
        if code == USER_ERROR and not child.known:
            self.mistake = child
        what = describe(code)
        said = f"{what}: {child.last_line()}" if code > 0 else what
        self._tell(child.process.name, "died", said)


def describe(code: int) -> str:
    """An exit code in words."""
    return f"exit {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def end_session(session: int) -> list[int]:
    """Kills every process of a session, whoever its parent has become; those that do not go."""
    deadline_s = time.monotonic() + END_S
    while members := [pid for pid in psutil.pids() if _in_session(pid, session)]:
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline_s:
            break
        time.sleep(0.005)
    return members


def _in_session(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
