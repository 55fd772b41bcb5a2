"""A whole stack as real processes, for tests: started by the command line, killed by pid."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from ports import free_address

DEPLOYMENT = Path(__file__).parents[2] / "deployments" / "sorting-cell.toml"


def options(**keys: Any) -> list[str]:
    """--set options: dots are written as double underscores; ports are fresh."""
    keys = {"links__device_edge": free_address(), "links__edge_cloud": free_address(), **keys}
    return [x for k, v in keys.items() for x in ("--set", f"{k.replace('__', '.')}={v}")]


class Stack:
    """One `tierloop` command under way."""

    def __init__(self, *arguments: str, command: str = "run") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tierloop", command, str(DEPLOYMENT), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self.family: dict[int, psutil.Process] = {}

    def look(self) -> list[psutil.Process]:
        """All descendants now; they are remembered, so that survivors are found."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            found = []
        self.family |= {p.pid: p for p in found}
        return found

    def pid_of(self, name: str) -> int | None:
        """The process that plays `name` in the table."""
        for process in self.look():
            try:
                command = process.cmdline()
            except psutil.Error:
                continue
            if command[-1:] == [name] and "tierloop.stack.wall.processes" in command:
                return process.pid
        return None

    def wait_for(self, name: str, other_than: int = -1, seconds: float = 30.0) -> int:
        end = time.monotonic() + seconds
        while (pid := self.pid_of(name)) in (None, other_than):
            assert time.monotonic() < end, f"no process {name}"
            time.sleep(0.05)
        assert pid is not None
        return pid

    def kill(self, name: str) -> int:
        pid = self.wait_for(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def interrupt(self) -> float:
        """Ctrl-C; how many seconds it took to end."""
        self.look()
        start = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        return time.monotonic() - start

    def survivors(self) -> list[str]:
        """Descendants that still run, after a moment's grace for the kernel to reap them."""
        psutil.wait_procs(list(self.family.values()), 0.5)
        return [
            " ".join(p.cmdline())
            for p in self.family.values()
            if p.is_running() and p.status() != psutil.STATUS_ZOMBIE
        ]

    def close(self) -> str:
        if self.process.poll() is None:
            self.interrupt()
        output, _ = self.process.communicate(timeout=30)
        return output


def summary(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text())
