"""Runs cells in processes of their own, some at a time; a cell that dies takes nobody with it."""

import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import msgspec

from tierloop.sweep.grid import GridCell
from tierloop.sweep.store import Summary, SweepFolder
from tierloop.sweep.worker import RunOrder

LOOK_S = 0.05
GRACE_S = 3.0
"""How long a cell that is told to stop may take before it is killed."""

COMMAND = (sys.executable, "-m", "tierloop.sweep.worker")


class Ended(NamedTuple):
    """A cell that has run: its summary, or else why there is none."""

    cell: GridCell
    summary: Summary | None
    why: str
    took_s: float


class _Running(NamedTuple):
    cell: GridCell
    process: subprocess.Popen[bytes]
    since_s: float


def run(
    cells: Sequence[GridCell], store: SweepFolder, jobs: int, tick: Callable[[int], None]
) -> Generator[Ended, None, None]:
    """Each cell as it ends. `tick` is told many times a second how many are under way.

    However the caller leaves, no process outlives it.
    """
    waiting, running = deque(cells), list[_Running]()
    with _all_stopped(running):
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_start(waiting.popleft(), store))
            tick(len(running))
            ended = [r for r in running if r.process.poll() is not None]
            for one in ended:
                running.remove(one)
                yield _close(one, store)
            if not ended:
                time.sleep(LOOK_S)


@contextmanager
def _all_stopped(running: list[_Running]) -> Iterator[None]:
    try:
        yield
    finally:
        for one in running:
            one.process.terminate()
        end_s = time.monotonic() + GRACE_S
        for one in running:
            try:
                one.process.wait(max(0.0, end_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
            _hang_up(one.process)


def _start(cell: GridCell, store: SweepFolder) -> _Running:
    order = RunOrder(deployment=cell.deployment, to=str(store.path(cell).resolve()))
    with store.log(cell).open("wb") as log:
        process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # if it has died already, its exit code will say so
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        process.stdin.flush()
    return _Running(cell, process, time.monotonic())


def _close(one: _Running, store: SweepFolder) -> Ended:
    _hang_up(one.process)
    code, took_s = one.process.returncode, time.monotonic() - one.since_s
    summary = store.read(one.cell)
    if summary is None:
        lines = store.log(one.cell).read_text(errors="replace").strip().splitlines()
        last = f": {lines[-1].strip()}" if lines else ""
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return Ended(one.cell, None, f"{how}{last}", took_s)
    store.log(one.cell).unlink(missing_ok=True)
    return Ended(one.cell, summary, "", took_s)


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
