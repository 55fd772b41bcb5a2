"""The commands that measure: sweep, bench, fuzz and compare."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from contract.errors import UserError

app = typer.Typer()

File = Annotated[Path, typer.Argument(metavar="FILE", help="The deployment, a TOML file.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="K=V", help="Overrides any key, as in a.b=c.")
]


class ClockName(StrEnum):
    """What time a run keeps."""

    WALL = "wall"
    VIRTUAL = "virtual"


@app.command()
def sweep(
    file: File,
    over: Annotated[
        list[str] | None,
        typer.Option(metavar="K=A,B,C", help="A key and its values; several make a grid."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(metavar="N", help="Runs of each combination, seeds counting up.")
    ] = 1,
    clock: Annotated[
        ClockName,
        typer.Option(
            help="Only virtual: side by side, runs on the wall clock would disturb one another."
        ),
    ] = ClockName.VIRTUAL,
    set_: Sets = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="J", help="Runs at a time; as many as cores by default.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Table, charts and finished runs; runs/NAME-sweep."),
    ] = None,
) -> None:
    """Runs a grid on the virtual clock: success, age and joules against whatever is swept."""
    if clock is ClockName.WALL:
        raise UserError("--clock wall: runs side by side would disturb one another; sweep virtual")
    from tierloop.sweep.conduct import conduct

    raise typer.Exit(conduct(file, over or (), seeds, set_ or (), jobs, out))


@app.command()
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Benchmarks; all by default.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Under two minutes: short, without the long ones.")
    ] = False,
    for_: Annotated[
        float | None, typer.Option("--for", metavar="S", help="Seconds each one measures.")
    ] = None,
    budgets: Annotated[
        Path | None, typer.Option(metavar="FILE", help="[[budget]] tables; else the project's own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The figures; runs/bench/TIME by default.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="ONNX", help="Measures this policy instead.")
    ] = None,
    body: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="The body that policy is for.")
    ] = None,
    deployment: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Whose budgets and hardware those are.")
    ] = None,
) -> None:
    """Measures, each figure beside its bare limit; exit 3 if a budget is broken, 4 if unclear."""
    from tierloop.bench.command import bench, own
    from tierloop.bench.suite import FULL_S, QUICK_S

    seconds = for_ if for_ is not None else QUICK_S if quick else FULL_S
    if policy or body or deployment:
        if names:
            raise UserError(f"{names[0]}: --policy and --body are measured alone")
        raise typer.Exit(own(policy, body, deployment, budgets, seconds, out))
    raise typer.Exit(bench(names or (), seconds, budgets, out, quick))


@app.command()
def fuzz(
    seeds: Annotated[int, typer.Option(metavar="N", help="How many seeds to try.")] = 200,
    start: Annotated[int, typer.Option(metavar="S", help="The first of them.")] = 0,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="One seed only, as a failure tells it.")
    ] = None,
    mode: Annotated[
        str, typer.Option(metavar="M", help="safety, liveness, or both: seeds in turn.")
    ] = "both",
    plant: Annotated[
        str, typer.Option(metavar="P", help="analytic for volume, bullet for depth.")
    ] = "analytic",
    jobs: Annotated[
        int | None, typer.Option(metavar="J", help="Processes; as many as cores by default.")
    ] = None,
) -> None:
    """Lives through random deployments and bad days; exit 1 if a promise is broken."""
    from tierloop.fuzz.conduct import conduct

    tried = range(start, start + seeds) if seed is None else (seed,)
    raise typer.Exit(conduct(tried, mode, plant, jobs))


@app.command()
def compare(
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="BASE HEAD", help="Two checkouts: folders or git refs."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Hot paths; all by default.")
    ] = None,
    pairs: Annotated[int, typer.Option(metavar="N", help="Pairs of processes.")] = 8,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The verdicts as JSON.")] = None,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="States this gate's own false-alarm rate.")
    ] = False,
    tries: Annotated[int, typer.Option(metavar="N", help="Of the self-test.")] = 20,
) -> None:
    """Is HEAD slower than BASE? By turns on this machine; exit 3 if so, 4 if that is unclear."""
    from tierloop.bench import comparing

    if self_test:
        raise typer.Exit(comparing.self_test(tries, pairs))
    if refs is None or len(refs) != 2:
        raise UserError("compare: give two checkouts, BASE and HEAD, or --self-test")
    base, head = refs
    raise typer.Exit(comparing.compare(base, head, only or (), pairs, out))
