"""The hot paths of a checkout: listed and timed by the worker script that it brings.

Base and head may lie months apart. Each side's worker runs its own code, so that a signature may
change between them. The protocol stays the same: benchmarks/rig/hot_worker.py defines it.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from tierloop.bench.checkout import Side
from tierloop.contract.errors import UserError

SCRIPTS = ("benchmarks/rig/hot_worker.py", "benchmarks/hot_worker.py")
"""Where a checkout may hold its worker; the first one found is run."""

QUESTION = ("?", 0, 0)
"""Asks a worker for the names of its hot paths."""

PATHS_BEFORE = ("codec", "segment", "tick", "hand_over", "serve")
"""The hot paths of every worker that does not know QUESTION, which it answers with an error."""

END_S = 5.0
"""How long a worker may take to end."""


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
            raise UserError(
                f"{side.name}: its hot paths cannot be timed: it has no {' or '.join(SCRIPTS)}"
            )
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


def _script(folder: Path) -> Path | None:
    return next((folder / one for one in SCRIPTS if (folder / one).is_file()), None)
