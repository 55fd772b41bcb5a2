"""A checkout and its own hot paths: found, listed and timed by the worker script that it brings.

Base and head may lie months apart. Each side's worker runs its own code, so that a signature may
change between them. The protocol stays the same: benchmarks/rig/hot_worker.py defines it.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from tierloop.contract.errors import UserError

SCRIPTS = ("benchmarks/rig/hot_worker.py", "benchmarks/hot_worker.py")
"""Where a checkout may hold its worker; the first one found is run."""

QUESTION = ("?", 0, 0)
"""Asks a worker for the names of its hot paths."""

PATHS_BEFORE = ("codec", "segment", "tick", "hand_over", "serve")
"""The hot paths of every worker that does not know QUESTION, which it answers with an error."""

END_S = 5.0
"""How long a worker may take to end."""


class Side(NamedTuple):
    """A checkout; `planted`: the share of codec calls that are done twice, None to leave it be."""

    name: str
    folder: Path
    planted: float | None = None

    @property
    def environment(self) -> dict[str, str]:
        """In which Python runs the code of this checkout."""
        return {**os.environ, "PYTHONPATH": str(self.folder.resolve()), "PYTHONHASHSEED": "0"}


class CannotRunError(Exception):
    """The checkout of this worker does not run a hot path, and why."""

    def __init__(self, worker: "HotWorker", why: str) -> None:
        super().__init__(f"{worker.name}: {why}")
        self.worker = worker


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    us: list[float] | None = None
    paths: list[str] | None = None
    error: str | None = None


class HotWorker:
    """A process that times the hot paths of one checkout; it runs on the machine's last core."""

    def __init__(self, side: Side) -> None:
        script = _script(side.folder)
        if script is None:
            raise UserError(_without_worker(side.name))
        planted = [] if side.planted is None else [str(side.planted)]
        self.name = side.name
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script.resolve()), *planted],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True,
            cwd=side.folder, env=side.environment,
        )  # fmt: skip
        os.sched_setaffinity(self._process.pid, {max(os.sched_getaffinity(0))})

    def paths(self) -> list[str]:
        """The names of its hot paths. Raises CannotRunError."""
        answer = self._ask(QUESTION)
        return list(PATHS_BEFORE) if answer.paths is None else answer.paths

    def us(self, name: str, calls: int, repeats: int) -> list[float]:
        """Processor microseconds a call, one figure a repeat. Raises CannotRunError."""
        answer = self._ask((name, calls, repeats))
        if answer.error is not None:
            raise CannotRunError(self, answer.error)
        if answer.us is None or len(answer.us) != repeats:
            raise CannotRunError(self, f"its worker did not answer with {repeats} figures")
        return answer.us

    def _ask(self, request: tuple[str, int, int]) -> _Answer:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._said.seek(0)
            last = (self._said.read().splitlines() or ["without a message"])[-1]
            raise CannotRunError(self, f"its worker ended: {last}")
        try:
            return msgspec.json.decode(line, type=_Answer)
        except msgspec.DecodeError as error:
            raise CannotRunError(self, f"unknown answer of its worker: {error}") from None

    def close(self) -> None:
        """Ends it. At the end of its input it removes its files; after END_S it is killed."""
        try:
            self._process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._said.close()


def paths(side: Side) -> list[str]:
    """The names of a checkout's hot paths, from a worker of its own. Raises CannotRunError."""
    worker = HotWorker(side)
    try:
        return worker.paths()
    finally:
        worker.close()


@contextmanager
def checkout(name: str) -> Iterator[Side]:
    """A folder as it is, or a git ref in a worktree of its own.

    Raises UserError if it is neither, or has no worker.
    """
    if _script(Path(name)):
        yield Side(name, Path(name).resolve())
        return
    if _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").returncode:
        said = _without_worker(name) if Path(name).is_dir() else f"{name}: no folder"
        raise UserError(f"{said}; nor is it a git ref of this repository")
    with tempfile.TemporaryDirectory(prefix="tierloop-compare-") as folder:
        tree = Path(folder) / "tree"
        added = _git("worktree", "add", "--detach", str(tree), name)
        if added.returncode:
            raise UserError(f"{name}: {added.stderr.strip().splitlines()[-1]}")
        try:
            if not _script(tree):
                raise UserError(_without_worker(name))
            yield Side(name, tree)
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _script(folder: Path) -> Path | None:
    return next((folder / one for one in SCRIPTS if (folder / one).is_file()), None)


def _without_worker(name: str) -> str:
    return f"{name}: not a checkout that can be compared: it has no {SCRIPTS[0]} or {SCRIPTS[1]}"


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError("git is not installed: give two folders") from None
