"""Real processes on trial: one `tierloop` command and its children, watched and ended by pid."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from tierloop.stack.config.deployment_file import LinksConfig

sys.path.append(str(Path(__file__).parents[1]))
from ports import free_address

DEFAULT = LinksConfig()
ROOF = "roof"

PLANT = """
name = "{name}"
seed = {seed}
[run]
duration_s = 7200
[scenario]
task = "reach"
body = "plant"
robots = {robots}
[links]
device_edge = "{edge}"
edge_cloud = "{cloud}"
[device]
segment_decisions = {decisions}
[learner]
hidden = [16]
steps_per_round = 20
twin_episodes = 2
gate_episodes = 5
gate_p = 0.1
min_lived = 50
rounds_max = 6
[cloud]
ray = "none"
workers = 1
"""
"""A deployment that is up in seconds and learns a little; nothing in it needs Ray or pybullet."""


class Vital(NamedTuple):
    """What one process holds at one instant."""

    at_s: float
    name: str
    pid: int
    rss: int
    fds: int
    threads: int


class Victim:
    """One `tierloop` command. `members` maps names to pids, the command itself as "roof".

    It has a folder for scratch of its own, so that what it leaves there is seen.
    """

    def __init__(self, command: str, file: Path, out: Path, *options: str) -> None:
        self.out = out
        out.parent.mkdir(parents=True, exist_ok=True)
        self.log = out.with_suffix(".log")
        self.scratch = out.parent / f"{out.name}.tmp"
        self.scratch.mkdir()
        own = {"TMPDIR": str(self.scratch), "XDG_RUNTIME_DIR": str(self.scratch)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tierloop", command, str(file), "--out", str(out), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=os.environ | own,
            )  # fmt: skip
        self.vitals: list[Vital] = []
        self.family: dict[int, psutil.Process] = {}

    def members(self) -> dict[str, int]:
        """The living processes of the table by name, and the roof."""
        found = {}
        with contextlib.suppress(psutil.Error):
            roof = psutil.Process(self.process.pid)
            for child in roof.children(recursive=True):
                self.family[child.pid] = child
                with contextlib.suppress(psutil.Error):
                    command = child.cmdline()
                    if "tierloop.stack.wall.processes" in command:
                        found[command[-1]] = child.pid
            if self.process.poll() is None:
                found[ROOF] = self.process.pid
        return found

    def until_heard(self, names: Sequence[str], seconds: float = 120.0) -> None:
        """Waits for the first report of each name. Raises RuntimeError if one does not come."""
        self.wait(
            lambda: all((self.out / "parts" / f"{name}.reports").exists() for name in names),
            f"no report of {', '.join(names)}",
            seconds,
        )

    def wait(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end_s:
                self.close()
                raise RuntimeError(f"{what}: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def look(self, now_s: float) -> None:
        """Notes what every process holds now."""
        for name, pid in self.members().items():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                with process.oneshot():
                    rss, fds = process.memory_info().rss, process.num_fds()
                    self.vitals.append(Vital(now_s, name, pid, rss, fds, process.num_threads()))

    def interrupt(self, patience_s: float = 60.0) -> int:
        """Ctrl-C; the exit code, or -9 if it had to be killed. It ends no descendant."""
        self.members()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience_s)
        return self._killed()

    def orphans(self, patience_s: float) -> list[int]:
        """Descendants ever seen that still run after `patience_s`."""
        psutil.wait_procs(list(self.family.values()), patience_s)
        return [pid for pid, process in self.family.items() if _runs(process)]

    def left(self) -> list[str]:
        """What lies in its scratch folder."""
        return sorted(str(path) for path in self.scratch.rglob("*"))

    def close(self, patience_s: float = 5.0) -> None:
        """Ends what is left: the command, then its descendants, each by its pid."""
        self._killed()
        for pid in self.orphans(patience_s):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _killed(self) -> int:
        """Kills the command, and it alone, if it still runs; its exit code."""
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait()


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def plant(
    folder: Path, name: str, robots: Sequence[str], seed: int, decisions: int = 10,
    links: LinksConfig = DEFAULT, faults: str = "",
) -> Path:  # fmt: skip
    """A deployment file of the analytic plant in `folder`; a record in `folder`/`name` is to go
    with it, where `placed` finds its addresses."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.toml"
    quoted = "[" + ", ".join(f'"{robot}"' for robot in robots) + "]"
    text = PLANT.format(
        name=name, seed=seed, robots=quoted, decisions=decisions,
        edge=links.device_edge, cloud=links.edge_cloud,
    )  # fmt: skip
    file.write_text(text + faults)
    return file


def tcp() -> LinksConfig:
    """Ports of this process's own."""
    return LinksConfig(device_edge=free_address(), edge_cloud=free_address())
