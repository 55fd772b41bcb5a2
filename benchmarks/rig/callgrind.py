"""Instructions of units of work, counted by callgrind in a process of its own.

They are the same in every run on one build of Python and of the libraries, whatever else the
machine does; the ratio to a baseline of the same kind of work is nearly the same on another build.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tierloop.bench.protocol import Series
from tierloop.benchmarks.rig.hot_worker import Work
from tierloop.contract.budget import Metric

Pair = tuple[Callable[[], Work], Callable[[], Work]]
"""Prepares the unit of work of ours, and of the baseline."""

LACKING = "no callgrind here"
TRACEBACK = "Traceback (most recent call last):"
"""Python says so of work that fails; valgrind, which ends with 1 as well, does not."""
PLANTED_EVERY = 0
"""One call of ours in so many is done twice: a slowdown that a trial plants. 0: none."""

STEADY = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}


def metric(name: str, scenario: str = "") -> Metric:
    """Instructions a call."""
    return Metric(name, "instr", scenario, "instructions")


def can_count() -> bool:
    """Whether there is valgrind, and x86-64, for which alone counted.py can switch it."""
    return shutil.which("valgrind") is not None and platform.machine() == "x86_64"


def counts(name: str, counted: Mapping[Metric, Pair]) -> list[Series]:
    """A series for each of `counted`, which is COUNTED of the benchmark of this name.

    Without figures where callgrind is not there or does not start. Raises RuntimeError if the work
    itself fails.
    """
    if not can_count():
        return _without(counted, LACKING)
    with tempfile.TemporaryDirectory(prefix="tierloop-counts-") as folder:
        file = Path(folder) / "out"
        tool = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "-q"]
        worker = [sys.executable, "-P", "-m", "tierloop.benchmarks.rig.counted"]
        done = subprocess.run(
            [*tool, f"--callgrind-out-file={file}", *worker, name, file, str(PLANTED_EVERY)],
            capture_output=True, text=True,
            env={**os.environ, **STEADY, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
    said = done.stderr.strip().splitlines()
    if TRACEBACK in said:
        raise RuntimeError(said[-1])
    if done.returncode:
        return _without(counted, f"{LACKING}: exit {done.returncode} {' '.join(said[:1])}".strip())
    return [
        Series(one, (np.array([ours]),), (np.array([bare]),))
        for one, (ours, bare) in zip(counted, json.loads(done.stdout), strict=True)
    ]


def _without(counted: Mapping[Metric, Pair], why: str) -> list[Series]:
    return [Series(one, (), lacking=why) for one in counted]
