"""Conducts a sweep: checks, runs what is not done yet, writes table, charts and page."""

import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tierloop.contract.errors import UserError
from tierloop.exit_codes import ExitCode
from tierloop.stack.machine import processors
from tierloop.stack.record.files import write
from tierloop.sweep import pool
from tierloop.sweep.grid import Grid, GridCell, grid
from tierloop.sweep.pool import Ended
from tierloop.sweep.store import Summary, SweepFolder

WIDTH = 200
"""Columns of the table where there is no terminal to say."""


def conduct(
    file: Path,
    over: Sequence[str],
    seeds: int,
    sets: Sequence[str],
    jobs: int | None,
    out: Path | None,
) -> int:
    """Runs a sweep into `out`; the exit code. Raises UserError before anything has started."""
    if not over:
        raise UserError(
            "--over is missing; give a key and its values, as in --over links.device.delay_ms=0,50"
        )
    if seeds < 1 or (jobs is not None and jobs < 1):
        raise UserError("--seeds and --jobs must be at least 1")
    whole = grid(file, over, seeds, sets)
    store = SweepFolder(out or Path("runs") / f"{whole.cells[0].deployment.name}-sweep")
    store.open()
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    try:
        with _stoppable():
            summaries, failed = _run(whole, store, jobs or processors(), console)
    except KeyboardInterrupt:
        done = sum(store.read(cell) is not None for cell in whole.cells)
        console.print(
            f"Stopped: {done} of {len(whole.cells)} runs are done and kept in {store.out}; "
            "run the same command again to continue.", soft_wrap=True,
        )  # fmt: skip
        return ExitCode.INCONCLUSIVE
    if summaries:
        _tell(console, _written(whole, summaries, store.out), store.out)
    broken = _broken(whole, summaries, console)
    for one in failed:
        _complain(console, f"failed: {one.why}", one.cell)
    return ExitCode.FAILED if failed or broken else ExitCode.FINE


def _run(
    whole: Grid, store: SweepFolder, jobs: int, console: Console
) -> tuple[dict[str, Summary], list[Ended]]:
    """The summaries by cell name, and what failed."""
    kept = {cell.name: summary for cell in whole.cells if (summary := store.read(cell))}
    todo = list({cell.name: cell for cell in whole.cells if cell.name not in kept}.values())
    words = [f"{len(todo)} runs, {jobs} at a time, into {store.out}"]
    words += [f"{len(kept)} more are already done"] if kept else []
    if strangers := store.strangers(whole.cells):
        words.append(f"{strangers} with other settings lie there and are ignored")
    console.print("; ".join(words), soft_wrap=True)
    failed: list[Ended] = []
    with _bar(console) as bar, ExitStack() as ends:
        task = bar.add_task("", total=len(todo), running=0)
        runs = pool.run(todo, store, jobs, lambda n: bar.update(task, running=n))
        ends.enter_context(closing(runs))
        for ended in runs:
            bar.advance(task)
            if ended.summary is None:
                failed.append(ended)
            else:
                kept[ended.cell.name] = ended.summary
            if ended.summary is None or not console.is_terminal:
                count = f"[{bar.tasks[task].completed:.0f}/{len(todo)}]"
                bar.console.print(f"{count} {_said(whole, ended)}", markup=False, soft_wrap=True)
    return kept, failed


def _said(whole: Grid, ended: Ended) -> str:
    """One run in one line."""
    keys = (axis.key for axis in whole.axes)
    values = zip(keys, ended.cell.values, strict=True)
    where = " ".join(f"{key}={value}" for key, value in values) + f" seed={ended.cell.seed}"
    if ended.summary is None:
        return f"{where}: failed: {ended.why}"
    won = ended.summary["success"]
    return f"{where}: {won['successes']} of {won['episodes']} episodes, {ended.took_s:.0f} s"


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("sweeping"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[running]} running"),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip


def _written(whole: Grid, summaries: Mapping[str, Summary], out: Path) -> Table:
    """Leaves sweep.csv, sweep.svg and sweep.html; the table for the terminal."""
    from tierloop.sweep import page, table

    found = table.table_lines(whole, summaries)
    title = f"{whole.cells[0].deployment.name}: {', '.join(axis.key for axis in whole.axes)}"
    command = shlex.join(["tierloop", *sys.argv[1:]])
    write(out / "sweep.csv", table.to_csv(whole, found).encode())
    write(out / "sweep.svg", page.figure(whole, found).encode())
    write(out / "sweep.html", page.page(title, command, whole, found).encode())
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for axis in whole.axes:
        shown.add_column(axis.key)
    for head in table.HEADS:
        shown.add_column(head, justify="right")
    for one in found:
        shown.add_row(*one.values, *table.texts(one))
    return shown


def _tell(console: Console, shown: Table, out: Path) -> None:
    console.print()
    console.print(shown)
    console.print(
        f"\nTable: {out / 'sweep.csv'}  (open {out / 'sweep.html'} in a browser)",
        soft_wrap=True,
    )


def _broken(whole: Grid, summaries: Mapping[str, Summary], console: Console) -> bool:
    """Whether an invariant was violated in some run; says where."""
    broken = False
    for cell in whole.cells:
        found = summaries.get(cell.name, {}).get("invariants", {})
        if names := [f"{name} {n}" for name, n in found.items() if n]:
            broken = True
            _complain(console, f"invariants violated: {', '.join(names)}", cell)
    return broken


def _complain(console: Console, what: str, cell: GridCell) -> None:
    console.print(f"{what}\n    {cell.command}", markup=False, soft_wrap=True)


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP are as good as Ctrl-C."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
