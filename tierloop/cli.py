"""The command line. Heavy parts are imported by the command that needs them."""

import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from contract.errors import UserError

FINE, FAILED, WRONG_INPUT = 0, 1, 2

app = typer.Typer(
    name="tierloop",
    help="A runnable reference of the cloud-edge-device stack for embodied intelligence.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The deployment, a TOML file.")]
For = Annotated[float | None, typer.Option("--for", metavar="S", help="Seconds to run at most.")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Overrides the deployment's seed.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="K=V", help="Overrides any key, as in a.b=c.")
]
Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The record; runs/NAME-TIME by default.")
]
FaultFile = Annotated[
    Path | None, typer.Option("--faults", metavar="FILE", help="Adds the [[fault]] tables of FILE.")
]
TIERS = ("device", "edge", "cloud")


def main() -> int:
    """Runs the command line; its exit code. A user's mistake is one line on standard error."""
    try:
        app(prog_name="tierloop")
    except UserError as error:
        print(f"tierloop: {error}", file=sys.stderr)
        return WRONG_INPUT
    return FINE


class ClockName(StrEnum):
    """What time a run keeps."""

    WALL = "wall"
    VIRTUAL = "virtual"


@app.command()
def run(
    file: File,
    for_: For = None,
    seed: Seed = None,
    set_: Sets = None,
    out: Out = None,
    faults: FaultFile = None,
    clock: Annotated[
        ClockName, typer.Option(help="Real processes in real time, or one process, exact and fast.")
    ] = ClockName.WALL,
) -> None:
    """Runs the whole stack on this machine and leaves its record in DIR."""
    _run(TIERS, file, for_, seed, set_, out, faults, clock is ClockName.VIRTUAL)


@app.command()
def device(
    file: File,
    for_: For = None,
    seed: Seed = None,
    set_: Sets = None,
    out: Out = None,
    faults: FaultFile = None,
) -> None:
    """Runs the robots of a deployment; edge and cloud run elsewhere."""
    _run(("device",), file, for_, seed, set_, out, faults)


@app.command()
def edge(
    file: File,
    for_: For = None,
    seed: Seed = None,
    set_: Sets = None,
    out: Out = None,
    faults: FaultFile = None,
) -> None:
    """Runs the edge of a deployment; devices and cloud run elsewhere."""
    _run(("edge",), file, for_, seed, set_, out, faults)


@app.command()
def cloud(
    file: File,
    for_: For = None,
    seed: Seed = None,
    set_: Sets = None,
    out: Out = None,
    faults: FaultFile = None,
) -> None:
    """Runs the cloud of a deployment; devices and edge run elsewhere."""
    _run(("cloud",), file, for_, seed, set_, out, faults)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The record of a run.")],
) -> None:
    """Joins the parts of a record into summary, ledger and report; exit 1 if it broke a promise."""
    from tierloop.closing import judge, print_summary
    from tierloop.join import join

    summary = join(folder)
    print_summary(summary, folder)
    raise typer.Exit(judge(summary, interrupted=True))


@app.command()
def calibrate(
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A policy artefact; else an untrained one.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The profile.")] = Path("host.toml"),
) -> None:
    """Times this machine's jobs and writes a hardware profile for deployments."""
    from tierloop.calibrate import calibrate

    calibrate(policy, out)


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
    quick: Annotated[bool, typer.Option("--quick", help="Under two minutes for all.")] = False,
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
        raise typer.Exit(own(policy, body, deployment, budgets, seconds, out))
    raise typer.Exit(bench(names or (), seconds, budgets, out))


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


@app.command()
def schema() -> None:
    """Prints the JSON Schema of a deployment file."""
    from tierloop.schema import schema

    sys.stdout.write(schema().decode())


@app.command()
def doctor(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A deployment whose ports to try.")
    ] = None,
) -> None:
    """Says what this machine has and lacks; exit 1 if something needed is missing."""
    from tierloop.doctor import examine

    raise typer.Exit(FINE if examine(file) else FAILED)


def _run(
    roles: tuple[str, ...],
    file: Path,
    for_s: float | None,
    seed: int | None,
    sets: list[str] | None,
    out: Path | None,
    faults: Path | None,
    virtual: bool = False,
) -> None:
    from tierloop.closing import conduct, conduct_virtual
    from tierloop.deployment import load

    options = list(sets or ())
    options += [f"run.duration_s={for_s}"] if for_s is not None else []
    options += [f"seed={seed}"] if seed is not None else []
    deployment = load(file, options, faults)
    started = datetime.now().strftime("%Y%m%d-%H%M%S")
    out = out or Path("runs") / f"{deployment.name}-{started}"
    raise typer.Exit(
        conduct_virtual(deployment, out) if virtual else conduct(deployment, roles, out)
    )
