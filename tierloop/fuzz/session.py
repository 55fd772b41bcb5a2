"""Conducts a fuzzing session: seeds over worker processes, progress, coverage, first failures."""

import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tierloop.contract.errors import UserError
from tierloop.exit_codes import ExitCode
from tierloop.fuzz import coverage
from tierloop.fuzz.case import Case, PlantKind, draw, mode_of
from tierloop.fuzz.shrink import shrink
from tierloop.fuzz.trial import TrialResult, live
from tierloop.stack.machine import processors

FAILURES_MAX = 5
"""After so many failing seeds the session ends: there is enough to look at."""
_AHEAD = 4
_DEAF = (signal.SIGINT, signal.SIG_IGN)
"""A worker leaves Ctrl-C to this process, and ends its seed."""
_UNTOLD = ("idle_w", "busy_w", "realtime")


def fuzz(seed: int, mode: str, plant: PlantKind) -> TrialResult:
    """One seed."""
    return live(draw(seed, mode_of(seed, mode), plant))


def conduct(seeds: Sequence[int], mode: str, plant: str, jobs: int | None) -> int:
    """Runs seeds, tells what came of them; the exit code. Raises UserError for a wrong option."""
    if mode not in ("safety", "liveness", "both"):
        raise UserError(f"--mode {mode}: choose one of: safety, liveness, both")
    if plant not in ("analytic", "bullet"):
        raise UserError(f"--plant {plant}: choose one of: analytic, bullet")
    if not seeds or seeds[0] < 0 or (jobs is not None and jobs < 1):
        raise UserError("--seeds and --jobs must be at least 1, and no seed below 0")
    body: PlantKind = "bullet" if plant == "bullet" else "analytic"
    console = Console(highlight=False)
    began_s, outcomes = time.monotonic(), list[TrialResult]()
    try:
        for outcome in _shown(console, seeds, mode, body, jobs or processors()):
            outcomes.append(outcome)
            if outcome.found:
                _tell(console, outcome, mode, body)
            if sum(bool(o.found) for o in outcomes) >= FAILURES_MAX:
                break
    except KeyboardInterrupt:
        console.print(f"Stopped after {len(outcomes)} of {len(seeds)} seeds.")
        return ExitCode.INCONCLUSIVE
    return _conclude(console, outcomes, time.monotonic() - began_s)


def _shown(
    console: Console, seeds: Sequence[int], mode: str, plant: PlantKind, jobs: int
) -> Iterator[TrialResult]:
    """Each outcome as it comes, under a bar."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("seeds", total=len(seeds))
        for number, outcome in enumerate(_outcomes(seeds, mode, plant, jobs), 1):
            progress.advance(task)
            if not sys.stdout.isatty() and number % 50 == 0:
                console.print(f"{number} of {len(seeds)} seeds")
            yield outcome


def _outcomes(
    seeds: Sequence[int], mode: str, plant: PlantKind, jobs: int
) -> Iterator[TrialResult]:
    if len(seeds) == 1:
        yield fuzz(seeds[0], mode, plant)
        return
    with _workers(jobs) as workers:
        left = iter(seeds)
        running: set[Future[TrialResult]] = set()
        while True:
            for seed in islice(left, jobs + _AHEAD - len(running)):
                running.add(workers.submit(fuzz, seed, mode, plant))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


@contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes made afresh; however the caller leaves, none outlives it for long."""
    workers = ProcessPoolExecutor(jobs, get_context("spawn"), signal.signal, _DEAF)
    try:
        yield workers
    finally:
        workers.shutdown(wait=True, cancel_futures=True)


def _tell(console: Console, outcome: TrialResult, mode: str, plant: PlantKind) -> None:
    """A failing seed: what broke, how to see it again, and the plainest case that still does."""
    seed = outcome.seed
    console.print(f"\nSeed {seed} ({outcome.mode}) violated {len(outcome.found)} invariants:")
    for name, detail in outcome.found.items():
        console.print(f"  {name:<16}{detail}", markup=False)
    console.print(f"To reproduce:  tierloop fuzz --seed {seed} --mode {mode} --plant {plant}")
    case = shrink(
        draw(seed, mode_of(seed, mode), plant), lambda c: bool({*live(c).found} & {*outcome.found})
    )
    console.print("The smallest case found that still fails:")
    console.print(text(case), markup=False)


def text(case: Case) -> str:
    """A case as the tables of a deployment file, only what is not by default."""
    deployment = case.deployment
    lines = [f"[run]\nduration_s = {deployment.run.duration_s:g}"]
    for name in ("scenario", "device", "edge"):
        lines += _table(name, getattr(deployment, name))
    for name in ("device", "cloud"):
        lines += _table(f"links.{name}", getattr(deployment.links, name))
    for fault in deployment.fault:
        lines.append("[[fault]]")
        lines += [f"{k} = {_value(v)}" for k, v in msgspec.to_builtins(fault).items()]
    lines += [f"# at {m.at_s:g} s: {m.kind}" for m in case.mishaps]
    return "\n".join(lines)


def _table(name: str, table: msgspec.Struct) -> list[str]:
    usual, given = msgspec.to_builtins(type(table)()), msgspec.to_builtins(table)
    own = {k: v for k, v in given.items() if v != usual[k] and not isinstance(v, dict)}
    own |= {
        f"{k}.{inner}": v
        for k, values in given.items()
        if isinstance(values, dict)
        for inner, v in values.items()
        if v != usual[k][inner]
    }
    told = [f"{k} = {_value(v)}" for k, v in own.items() if k.split(".")[-1] not in _UNTOLD]
    return [f"[{name}]", *told] if told else []


def _value(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _conclude(console: Console, outcomes: Sequence[TrialResult], took_s: float) -> int:
    reached: Counter[str] = Counter()
    for outcome in outcomes:
        reached.update(outcome.marks)
    console.print("\nRare states, and how often each was reached:")
    for state in coverage.ALL:
        if reached[state]:
            console.print(f"  {reached[state]:>9}  {state}")
    never = [state for state in coverage.ALL if not reached[state]]
    console.print(f"Never reached: {'; '.join(never) or 'none'}")
    simulated_s, cpu_s = (sum(getattr(o, n) for o in outcomes) for n in ("simulated_s", "cpu_s"))
    failed = [o.seed for o in outcomes if o.found]
    console.print(
        f"\n{len(outcomes)} seeds, {simulated_s / 3600:.2f} simulated hours in {took_s:.0f} s, "
        f"{simulated_s / cpu_s if cpu_s else 0:.0f} simulated hours per CPU hour"
    )
    if failed:
        console.print(f"FAILED: seeds {', '.join(map(str, failed))}")
        return ExitCode.FAILED
    console.print("No invariant was violated.")
    return ExitCode.FINE
