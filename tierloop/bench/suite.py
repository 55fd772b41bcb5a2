"""The suite: the benchmarks by name, run one after another, with progress, then judged."""

import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tierloop.bench import outputs, verdicts, words
from tierloop.bench.protocol import Benchmark, Series
from tierloop.bench.statistics import Verdict
from tierloop.bench.verdicts import Document, Line, Result
from tierloop.contract.budget import Budget
from tierloop.contract.errors import UserError
from tierloop.contract.reading import Unreadable
from tierloop.contract.wording import near

SUITE = "tierloop.benchmarks"
"""The package of the project's own benchmarks, and of their budgets."""

FULL_S, QUICK_S = 20.0, 3.0
"""How long each benchmark measures, preparations apart."""

TONES = {
    Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_JUDGED: "dim",
}  # fmt: skip


def benchmarks(folder: str = SUITE) -> list[Benchmark]:
    """Every benchmark of a package: each of its modules with a BENCHMARK; the long ones last."""
    package = import_module(folder)
    modules = [
        import_module(f"{folder}.{module.name}")
        for module in iter_modules(package.__path__)
        if not module.ispkg
    ]
    found: list[Benchmark] = [m.BENCHMARK for m in modules if hasattr(m, "BENCHMARK")]
    return sorted(found, key=lambda benchmark: (benchmark.long, benchmark.name))


def find(names: Sequence[str], quick: bool = False) -> list[Benchmark]:
    """The benchmarks of these names; if there are none, all, or all that are quick.

    Raises UserError.
    """
    known = {benchmark.name: benchmark for benchmark in benchmarks()}
    for name in names:
        if name not in known:
            hint = near(name, known) or f"; choose one of: {', '.join(known)}"
            raise UserError(f"unknown benchmark '{name}'{hint}")
    wanted = names or [b.name for b in known.values() if not (quick and b.long)]
    return [known[name] for name in wanted]


def run(
    benchmarks: Sequence[Benchmark], seconds: float, budgets: Sequence[Budget], console: Console
) -> tuple[list[Result], list[Series]]:
    """Measures and judges; what crashes is a result too. KeyboardInterrupt ends it all."""
    results: list[Result] = []
    series: list[Series] = []
    for number, benchmark in enumerate(benchmarks, 1):
        head = f"[{number}/{len(benchmarks)}] {benchmark.name}: {benchmark.question}"
        begun = time.monotonic()
        console.print(head, markup=False, highlight=False, soft_wrap=True)
        try:
            with console.status("measuring"):
                found = benchmark.run(seconds)
        except Exception as error:
            results.append(verdicts.crashed(benchmark, error, time.monotonic() - begun))
            continue
        results.append(verdicts.result(benchmark, found, budgets, time.monotonic() - begun))
        series += found
    return results, series


def show(document: Document, console: Console) -> None:
    """The table, and a sentence for what is not in order; what is broken goes to standard error."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    heads = ("benchmark", "metric", "", "figure", "baseline", "times baseline", "budget", "verdict")
    for name in heads:
        table.add_column(name, justify="right" if name in heads[3:7] else "left", overflow="fold")
    for result in document.results:
        for line in result.lines:
            *row, _ = words.cells(result, line)
            table.add_row(*(Text(cell) for cell in row), _verdict(line))
    console.print(table)
    stderr = Console(stderr=True)
    for remark in words.remarks(document):
        stderr.print(f"tierloop: {remark}", markup=False, highlight=False, soft_wrap=True)


def history(out: Path) -> list[Document]:
    """Earlier runs: those whose folders lie beside `out`, oldest first; unreadable ones are not."""
    found = []
    for path in out.parent.glob(f"*/{outputs.JSON}"):
        if path.parent != out:
            try:
                found.append(outputs.read(path))
            except Unreadable:
                continue
    return sorted(found, key=lambda document: document.at)


def _verdict(line: Line) -> Text:
    if line.verdict is None:
        return Text("-")
    return Text(f"{line.verdict}{words.note(line)}", TONES[line.verdict])
