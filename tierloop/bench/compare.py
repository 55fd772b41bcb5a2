"""`tierloop compare BASE HEAD`: is the head slower? Hot paths, by turns, on one machine.

The measuring code is this checkout's; only what it imports is the other's. Base and head run in
pairs of fresh processes on one core, which take turns of a few milliseconds of processor time.
Each pair gives one ratio; the pairs are what the test counts, since memory lies differently in
every process. A benchmark fails if the mean ratio is beyond 1 + TOLERANCE by Student's test, with
Holm's correction over the benchmarks.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from scipy import stats

from tierloop.bench import statistics as st
from tierloop.bench.statistics import Verdict
from tierloop.contract.errors import UserError

TOLERANCE = 0.05
"""A head that is slower by less is not called slower."""

ALPHA = 0.01
"""The chance of any false alarm in one comparison stays below it, if pairs are independent."""

PAIRS = 8
TURNS, REPEATS = 8, 4
BLOCK_US = 2000.0
"""One repeat takes about this long."""

END_S = 5.0
"""How long a worker may take to end."""

QUANTILE = 25.0
"""Of a process's repeats: a disturbance makes one longer, so that the low ones tell most."""

Tell = Callable[[str], None]


class CannotRunError(Exception):
    """A checkout does not run a hot path, and why."""


class Side(NamedTuple):
    """A checkout; `planted`: the share of codec calls that are done twice, None to leave it be."""

    name: str
    folder: Path
    planted: float | None = None


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark: microseconds at the base, ratio head to base with its interval, verdict."""

    name: str
    base_us: float
    ratio: float
    low: float
    high: float
    pairs: int
    verdict: Verdict
    why: str


class Worker:
    """A process that times hot paths of one checkout; it is on the machine's last core."""

    def __init__(self, side: Side) -> None:
        from tierloop import benchmarks

        script = Path(benchmarks.__path__[0]).resolve() / "rig" / "hot_worker.py"
        planted = [] if side.planted is None else [str(side.planted)]
        self.name = side.name
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script), *planted],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True,
            cwd=side.folder,
            env={**os.environ, "PYTHONPATH": str(side.folder.resolve()), "PYTHONHASHSEED": "0"},
        )  # fmt: skip
        os.sched_setaffinity(self._process.pid, {max(os.sched_getaffinity(0))})

    def us(self, name: str, calls: int, repeats: int) -> list[float]:
        """Processor microseconds a call, one figure a repeat. Raises CannotRunError."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps([name, calls, repeats]) + "\n")
            stdin.flush()
            answer = json.loads(stdout.readline())
        except (BrokenPipeError, ValueError):
            self._said.seek(0)
            last = (self._said.read().splitlines() or ["it ended without a word"])[-1]
            raise CannotRunError(f"{self.name}: its process ended: {last}") from None
        if "error" in answer:
            raise CannotRunError(f"{self.name}: {answer['error']}")
        found: list[float] = answer["us"]
        return found

    def close(self) -> None:
        """Ends it. At the end of its input it takes its files away; if that does not come, dies."""
        try:
            self._process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._said.close()


def compare(
    base: Side, head: Side, names: Sequence[str], pairs: int = PAIRS, tell: Tell | None = None
) -> list[Compared]:
    """A verdict for each benchmark: what runs at the base and not at the head fails."""
    levels: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    failed: dict[str, tuple[Verdict, str]] = {}
    for number in range(pairs):
        if tell:
            tell(f"pair {number + 1} of {pairs}")
        with _workers((base, head) if number % 2 == 0 else (head, base)) as workers:
            first, second = workers if number % 2 == 0 else workers[::-1]
            for name in names:
                if name not in failed:
                    try:
                        calls = _calls(first, name)
                    except CannotRunError as error:
                        failed[name] = (Verdict.INCONCLUSIVE, str(error))
                        continue
                    try:
                        levels[name].append(_pair(first, second, name, calls))
                    except CannotRunError as error:
                        failed[name] = (Verdict.FAIL, str(error))
    return judge(levels, failed)


def judge(
    levels: dict[str, list[tuple[float, float]]], failed: dict[str, tuple[Verdict, str]]
) -> list[Compared]:
    """From microseconds of base and head, pair by pair; of what did not run, what is known."""
    logs = {name: np.diff(np.log(found), axis=1)[:, 0] for name, found in levels.items()
            if found and name not in failed}  # fmt: skip
    limit = 1 + TOLERANCE
    slower = st.holm([st.above(one, limit) for one in logs.values()], ALPHA)
    found = [
        _compared(name, one, float(np.median(np.array(levels[name])[:, 0])), is_slower)
        for (name, one), is_slower in zip(logs.items(), slower, strict=True)
    ]
    nothing = float("nan")
    return found + [
        Compared(
            name=name, base_us=nothing, ratio=nothing, low=nothing, high=nothing, pairs=0,
            verdict=verdict, why=why,
        )
        for name, (verdict, why) in failed.items()
    ]  # fmt: skip


def _compared(name: str, logs: st.Samples, base_us: float, slower: bool) -> Compared:
    mean, n = float(logs.mean()), len(logs)
    spread = float(logs.std(ddof=1)) / n**0.5 if n > 1 else np.inf
    half = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * spread if n > 1 else np.inf
    low, high = np.exp([mean - half, mean + half])
    verdict, why = Verdict.INCONCLUSIVE, f"{low:.3f} to {high:.3f} lies across {1 + TOLERANCE:g}"
    if slower:
        verdict, why = Verdict.FAIL, ""
    elif high <= 1 + TOLERANCE:
        verdict, why = Verdict.PASS, ""
    return Compared(
        name=name, base_us=base_us, ratio=float(np.exp(mean)), low=float(low), high=float(high),
        pairs=n, verdict=verdict, why=why,
    )  # fmt: skip


def _calls(base: Worker, name: str) -> int:
    """So many take BLOCK_US at the base."""
    return max(1, round(BLOCK_US / float(np.median(base.us(name, 10, 3)))))


def _pair(base: Worker, head: Worker, name: str, calls: int) -> tuple[float, float]:
    """Microseconds of both, from turns in the order base, head, head, base."""
    head.us(name, calls, 1)
    found: dict[Worker, list[float]] = {base: [], head: []}
    for turn in range(TURNS):
        for worker in (base, head) if turn % 2 == 0 else (head, base):
            found[worker] += worker.us(name, calls, REPEATS)
    low = [float(np.percentile(found[worker], QUANTILE)) for worker in (base, head)]
    return low[0], low[1]


@contextmanager
def _workers(sides: Sequence[Side]) -> Iterator[list[Worker]]:
    with ExitStack() as stack:
        workers = []
        for side in sides:
            workers.append(worker := Worker(side))
            stack.callback(worker.close)
        yield workers


@contextmanager
def checkout(name: str) -> Iterator[Side]:
    """A folder as it is, or a git ref in a worktree of its own. Raises UserError if neither."""
    if (Path(name) / "contract").is_dir():
        yield Side(name, Path(name).resolve())
        return
    if _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").returncode:
        raise UserError(f"{name}: neither a checkout of tierloop nor a git ref of this repository")
    with tempfile.TemporaryDirectory(prefix="tierloop-compare-") as folder:
        tree = Path(folder) / "tree"
        added = _git("worktree", "add", "--detach", str(tree), name)
        if added.returncode:
            raise UserError(f"{name}: {added.stderr.strip().splitlines()[-1]}")
        try:
            if not (tree / "contract").is_dir():
                raise UserError(f"{name}: no checkout of tierloop (it has no contract/)")
            yield Side(name, tree)
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError("git is not installed: give two folders") from None
