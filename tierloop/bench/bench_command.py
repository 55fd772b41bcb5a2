"""`tierloop bench` from the options to the exit code."""

from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path

from rich.console import Console

from tierloop.bench import budget, outputs, run_budgets, suite, verdicts
from tierloop.bench.protocol import Benchmark
from tierloop.contract.budget import Budget
from tierloop.contract.errors import UserError
from tierloop.stack.config import budget_tables
from tierloop.stack.config.budget_tables import Placed
from tierloop.stack.config.toml import Source

WIDTH = 150
"""Of the table where there is no terminal."""


def default_budgets() -> Path:
    """The project's own."""
    return Path(import_module(suite.SUITE).__path__[0]) / "budgets.toml"


def console() -> Console:
    """A wide one where nobody looks."""
    shown = Console()
    return shown if shown.is_terminal else Console(width=WIDTH)


def bench(
    names: Sequence[str],
    seconds: float,
    budgets: Path | None,
    out: Path | None,
    quick: bool,
) -> int:
    """Runs the benchmarks of these names, or all, or all that are quick; the exit code.

    Only the budgets of what is run are judged; that streams and processes all have one is checked
    always. Raises UserError before anything is measured.
    """
    chosen, everything = suite.find(names, quick), suite.find(())
    placed = budget_tables.load(budgets or default_budgets())
    budget.check(placed, [metric for one in everything for metric in one.metrics])
    if left := [one.name for one in everything if one not in chosen and not names]:
        console().print(f"--quick skips: {', '.join(left)}", highlight=False)
    return conduct(chosen, placed, budget.missing(b for b, _ in placed), seconds, out)


def conduct(
    chosen: Sequence[Benchmark],
    placed: Sequence[Placed],
    missing: Sequence[str],
    seconds: float,
    out: Path | None,
    others: Sequence[Budget] = (),
) -> int:
    """Measures, shows, writes; the exit code. `others`: budgets that are not about what is run."""
    if seconds <= 0:
        raise UserError(f"--for {seconds:g}: must be greater than 0")
    folder = out or Path("runs/bench") / datetime.now().strftime("%Y%m%d-%H%M%S")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: already exists; choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.rmdir()
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; choose another --out") from None
    screen = console()
    results, series = suite.run(chosen, seconds, [b for b, _ in placed], screen)
    if others:
        results.append(verdicts.of_others(others, "for `tierloop run`"))
    document = verdicts.document(results, missing)
    outputs.put(document, series, suite.history(folder), folder)
    suite.show(document, screen)
    screen.print(
        f"\nResults: {folder}  (open {folder / outputs.PAGE} in a browser)", highlight=False
    )
    return document.exit_code


def own(
    policy: Path | None,
    body: str | None,
    deployment: Path | None,
    budgets: Path | None,
    seconds: float,
    out: Path | None,
) -> int:
    """Measures somebody's own policy on their own body; the exit code."""
    from tierloop.bench.own.measure import benchmark

    if policy is None or body is None:
        raise UserError("--policy and --body must be given together")
    chosen = benchmark(policy, body, deployment)
    placed = budget_tables.load(budgets) if budgets else []
    if deployment is not None:
        placed += budget_tables.read(Source(deployment))
    budget.check(placed, run_budgets.known())
    others = [b for b, _ in placed if not any(b.covers(metric) for metric in chosen.metrics)]
    return conduct([chosen], placed, (), seconds, out, others)
