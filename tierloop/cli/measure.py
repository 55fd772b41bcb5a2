"""The commands that measure: sweep, bench, fuzz, compare and same."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tierloop.cli.extras import require
from tierloop.cli.panels import MEASURE, example
from tierloop.contract.errors import UserError

app = typer.Typer()

File = Annotated[Path, typer.Argument(metavar="FILE", help="The deployment, a TOML file.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="K=V", help="Replace one key of the deployment, as in run.duration_s=60."
    ),
]


class ClockName(StrEnum):
    """The clock of a run."""

    WALL = "wall"
    VIRTUAL = "virtual"


@app.command(
    rich_help_panel=MEASURE,
    epilog=example(
        "tierloop sweep deployments/sorting-cell.toml --set run.duration_s=10 \\\n"
        "      --over links.device.preset=wifi,5g"
    ),
)
def sweep(
    file: File,
    over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="K=A,B,C", help="A key and its values; repeat the option to combine keys."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Number of seeds per combination.")] = 1,
    clock: Annotated[
        ClockName,
        typer.Option(
            help="Only virtual: parallel runs on the wall clock would slow one another down."
        ),
    ] = ClockName.VIRTUAL,
    set_: Sets = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="J", help="Number of parallel runs; by default one per usable processor."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Output folder: table, charts, finished runs; runs/NAME-sweep by default.",
        ),
    ] = None,
) -> None:
    """Runs every combination of some settings and compares the results.

    Runs on the virtual clock; reports success, age of action and energy for each combination.
    """
    if clock is ClockName.WALL:
        raise UserError(
            "--clock wall: parallel runs would slow one another down; use --clock virtual"
        )
    require("bench", "report")
    from tierloop.sweep.session import conduct

    raise typer.Exit(conduct(file, over or (), seeds, set_ or (), jobs, out))


@app.command(rich_help_panel=MEASURE, epilog=example("tierloop bench hand_over --for 1"))
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Benchmarks; all by default.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Short measurements, without the slow benchmarks: under two minutes."
        ),
    ] = False,
    for_: Annotated[
        float | None, typer.Option("--for", metavar="S", help="Seconds to measure each benchmark.")
    ] = None,
    budgets: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File of [[budget]] tables; the project's own by default."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Output folder; runs/bench/TIME by default.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="ONNX", help="Measure this policy instead.")
    ] = None,
    body: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="The body that the policy controls.")
    ] = None,
    deployment: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take budgets and hardware from this deployment."),
    ] = None,
) -> None:
    """Runs benchmarks, each beside a minimal baseline.

    Exits 1 if a benchmark crashes, 3 if a budget is exceeded, 4 if undecided.
    """
    from tierloop.bench.bench_command import bench, own
    from tierloop.bench.suite import FULL_S, QUICK_S

    seconds = for_ if for_ is not None else QUICK_S if quick else FULL_S
    if policy or body or deployment:
        if names:
            raise UserError(
                f"{names[0]}: --policy and --body cannot be combined with names of benchmarks"
            )
        raise typer.Exit(own(policy, body, deployment, budgets, seconds, out))
    raise typer.Exit(bench(names or (), seconds, budgets, out, quick))


@app.command(rich_help_panel=MEASURE, epilog=example("tierloop fuzz --seeds 2"))
def fuzz(
    seeds: Annotated[int, typer.Option(metavar="N", help="Number of seeds.")] = 200,
    start: Annotated[int, typer.Option(metavar="S", help="First seed.")] = 0,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Run only this seed, to reproduce a failure."),
    ] = None,
    mode: Annotated[
        str, typer.Option(metavar="M", help="safety, liveness, or both (alternately).")
    ] = "both",
    plant: Annotated[
        str, typer.Option(metavar="P", help="Physics: analytic (fast) or bullet (accurate).")
    ] = "analytic",
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="J", help="Number of parallel processes; by default one per usable processor."
        ),
    ] = None,
) -> None:
    """Runs random deployments with random faults.

    Exits 1 if an invariant is violated.
    """
    from tierloop.fuzz.session import conduct

    tried = range(start, start + seeds) if seed is None else (seed,)
    raise typer.Exit(conduct(tried, mode, plant, jobs))


@app.command(
    rich_help_panel=MEASURE, epilog=example("tierloop compare HEAD~1 HEAD --only codec --pairs 4")
)
def compare(
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="BASE HEAD", help="Two git refs, or folders of checkouts."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Compare only this hot path.")
    ] = None,
    pairs: Annotated[int, typer.Option(metavar="N", help="Number of process pairs.")] = 8,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the verdicts as JSON.")
    ] = None,
    self_test: Annotated[
        bool,
        typer.Option("--self-test", help="Measure how often the verdict is wrong."),
    ] = False,
    tries: Annotated[int, typer.Option(metavar="N", help="Repetitions of the self-test.")] = 20,
) -> None:
    """Compares the speed of two versions of this project.

    Benchmarks the hot paths of BASE and HEAD alternately on this machine, each with its own code.
    Exits 3 if HEAD is slower or does not run, 4 if undecided.
    """
    from tierloop.bench import compare_command

    if self_test:
        raise typer.Exit(compare_command.self_test(tries, pairs))
    if refs is None or len(refs) != 2:
        raise UserError("compare: give BASE and HEAD, or --self-test")
    base, head = refs
    raise typer.Exit(compare_command.compare(base, head, only or (), pairs, out))


@app.command(rich_help_panel=MEASURE, epilog=example("tierloop same HEAD~1 HEAD --only fuzz-0"))
def same(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A git ref, or a checkout's folder.")],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="Another; . is this folder.")],
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Run only this case.")
    ] = None,
) -> None:
    """Tells whether two versions of this project do the same.

    Runs a list of cases with BASE and with HEAD on the virtual clock, each with its own code.
    Exits 3 if a digest or a summary differs, 1 if a case does not run.
    """
    from tierloop.bench.same_command import same

    raise typer.Exit(same(base, head, only or ()))
