"""A stranger's graph is tried in a process of its own, before this one loads it.

What a graph of any operators needs is known only by running it: the process that does so has a
bound on memory and on processor time. Run as a script, this file is that process; it imports the
runtime and numpy alone.
"""

import json
import resource
import signal
import subprocess
import sys
import time
from typing import Any, NamedTuple

import numpy as np
import psutil

CPU_S, WALL_S = 10, 120
"""For loading it and for its first answer; what the machine may make of that."""

TRY_S = 2.0
"""Further observations are tried for so long, or for what is left of CPU_S."""

MEMORY_BYTES = 2**30
"""Beyond what the runtime has at its start and three times the weights."""


class Trial(NamedTuple):
    """`inputs`, `outputs`: name, type and sizes of each; `shape`: of the answers, unless `failed`.

    `wrong` says what is wrong with the answers: no numbers, or another one each time.
    """

    inputs: list[Any]
    outputs: list[Any]
    shape: list[int]
    failed: str
    wrong: str


class TrialError(Exception):
    """It cannot be loaded within the bounds; says why in a few words."""


def trial(path: str, features: np.ndarray, weights: int) -> Trial:
    """How the graph in `path` answers the rows of float32[N, D], one by one."""
    command = [sys.executable, "-P", __file__, path, str(features.shape[1]), str(weights)]
    try:
        done = subprocess.run(
            command, input=features.tobytes(), capture_output=True, timeout=WALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise TrialError(f"no answer within {WALL_S} s") from None
    if -done.returncode == signal.SIGXCPU:
        raise TrialError(
            f"loading it and its first answer need more than {CPU_S} s of processor time"
        )
    if -done.returncode == signal.SIGKILL:
        raise TrialError("the process that tried it was killed; the machine may be out of memory")
    lines = done.stdout.splitlines()
    found = json.loads(lines[-1]) if done.returncode == 0 and lines else {"error": ""}
    if "error" not in found:
        return Trial(**found)
    said = found["error"] or "it crashes the runtime"
    if "alloc" in said or not found["error"]:
        said = f"it needs more than {(MEMORY_BYTES + 3 * weights) >> 20} MB, or crashes the runtime"
    raise TrialError(said)


def _run(path: str, size: int, weights: int) -> dict[str, Any]:
    """The process of its own."""
    import onnxruntime

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
    most = psutil.Process().memory_info().vms + MEMORY_BYTES + 3 * weights
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    features = np.frombuffer(sys.stdin.buffer.read(), np.float32).reshape(-1, size)
    try:
        session = open_session(onnxruntime, path)
    except Exception as error:
        return {"error": str(error).strip().split("\n")[0] or "alloc"}
    into, out = ([(p.name, p.type, p.shape) for p in ends]
                 for ends in (session.get_inputs(), session.get_outputs()))  # fmt: skip
    found = {"inputs": into, "outputs": out, "shape": [], "failed": "", "wrong": ""}
    if len(into) == len(out) == 1:
        try:
            found |= _answers(session, into[0][0], features)
        except Exception as error:
            said = str(error).strip()
            if "alloc" in said or not said:
                return {"error": "alloc"}
            found["failed"] = said.splitlines()[0]
    return found


def open_session(onnxruntime: Any, path: str) -> Any:
    """A session on one thread; weights beside the file are found there."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _answers(session: Any, name: str, features: np.ndarray) -> dict[str, Any]:
    begun_s = time.process_time()
    (first,) = session.run(None, {name: features[:1]})
    one_s = time.process_time() - begun_s
    until_s = min(begun_s + TRY_S, CPU_S - 1 - one_s)
    wrong = _no_number(features[0], first)
    for i, row in enumerate(features):
        if wrong or time.process_time() > until_s:
            break
        (answer,) = session.run(None, {name: row[None]})
        if i == 0 and not np.array_equal(first, answer):
            wrong = "answers the same observation differently each time"
        else:
            wrong = _no_number(row, answer)
    return {"shape": list(first.shape), "wrong": wrong}


def _no_number(row: np.ndarray, answer: np.ndarray) -> str:
    if np.isfinite(answer).all():
        return ""
    return f"answers {np.array2string(row, threshold=8)} which is not a number"


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
