"""The command line. Heavy parts are imported by the command that needs them."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tierloop.cli import measure
from tierloop.cli.extras import lacking, require
from tierloop.cli.measure import ClockName, File, Sets
from tierloop.cli.panels import LOOK, MAKE, RUN, Panels, example
from tierloop.contract.errors import UserError
from tierloop.exit_codes import ExitCode
from tierloop.stack import screen

app = typer.Typer(
    name="tierloop",
    cls=Panels,
    help="A runnable reference of the cloud-edge-device stack for embodied intelligence.",
    epilog="'tierloop COMMAND --help' lists the options of a command and ends with an example.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

For = Annotated[
    float | None, typer.Option("--for", metavar="S", help="Stop after this many seconds.")
]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Replace the deployment's seed.")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of the record; runs/NAME-TIME by default."),
]
FaultFile = Annotated[
    Path | None, typer.Option("--faults", metavar="FILE", help="Add the [[fault]] tables of FILE.")
]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The record of a run.")]


class Only(StrEnum):
    """Which decisions a replay shows."""

    REFUSED = "refused"
    LATE = "late"


TIERS = ("device", "edge", "cloud")


def main() -> int:
    """Runs the command line; its exit code. A user's mistake is one line on standard error."""
    try:
        app(prog_name="tierloop")
    except UserError as error:
        print(f"tierloop: {_line(str(error))}", file=sys.stderr)
        return ExitCode.WRONG_INPUT
    except ModuleNotFoundError as error:
        if not (words := lacking(error.name or "")):
            raise
        print(f"tierloop: {words}", file=sys.stderr)
        return ExitCode.WRONG_INPUT
    return ExitCode.FINE


def _line(text: str) -> str:
    """A text in one line, whatever of a user's is in it: what does not print is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@app.command(
    rich_help_panel=RUN,
    epilog=example(
        "tierloop run deployments/sorting-cell.toml --clock virtual --for 20 --out runs/first"
    ),
)
def run(
    file: File,
    for_: For = None,
    seed: Seed = None,
    set_: Sets = None,
    out: Out = None,
    faults: FaultFile = None,
    clock: Annotated[
        ClockName,
        typer.Option(
            help="wall: one process per node, in real time; virtual: simulated time, reproducible."
        ),
    ] = ClockName.WALL,
) -> None:
    """Runs device, edge and cloud on this machine and writes a record.

    Exits 1 if an invariant was violated or no robot acted, 3 if a budget was exceeded, 4 without a
    verdict.
    """
    require("report")
    _run(TIERS, file, for_, seed, set_, out, faults, clock is ClockName.VIRTUAL)


def _add(tier: str, what: str, others: str) -> None:
    """Adds the command that runs one tier."""

    @app.command(
        tier,
        rich_help_panel=RUN,
        help=f"Runs only the {what} of a deployment.\n\n"
        f"The {others} run elsewhere. On one machine, tiers with the same --out connect to each "
        "other.",
        epilog=example(f"tierloop {tier} deployments/sorting-cell.toml --out runs/tiers"),
    )
    def _(
        file: File,
        for_: For = None,
        seed: Seed = None,
        set_: Sets = None,
        out: Out = None,
        faults: FaultFile = None,
    ) -> None:
        _run((tier,), file, for_, seed, set_, out, faults)


_add("device", "robots", "edge and cloud")
_add("edge", "edge", "devices and cloud")
_add("cloud", "cloud", "devices and edge")


@app.command(rich_help_panel=LOOK, epilog=example("tierloop report runs/first"))
def report(folder: Folder) -> None:
    """Writes the summary, the ledger and the report of a record again.

    Joins what tiers recorded separately. Exits 1 if an invariant was violated.
    """
    from tierloop.cli.run import print_summary, run_code
    from tierloop.views.finish import join

    require("report")
    summary = join(folder)
    print_summary(summary, folder)
    raise typer.Exit(run_code(summary, interrupted=True))


@app.command(rich_help_panel=LOOK, epilog=example("tierloop replay runs/first --to 5"))
def replay(
    folder: Folder,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Show this robot only.")
    ] = None,
    from_: Annotated[
        float, typer.Option("--from", metavar="S", help="First second to show.")
    ] = 0.0,
    to: Annotated[float | None, typer.Option(metavar="S", help="Last second to show.")] = None,
    only: Annotated[Only | None, typer.Option(help="Show only refused or late decisions.")] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Export for ui.perfetto.dev instead (.json[.gz])."),
    ] = None,
) -> None:
    """Shows the events of a run, one by one.

    Where the output is no terminal, prints one line per event.
    """
    from tierloop.cli.replay import tell, write_trace

    if trace is None:
        tell(folder, device, from_, to, only)
    elif device or from_ or to is not None or only:
        raise UserError("--trace writes the whole run; leave out --device, --from, --to and --only")
    else:
        write_trace(folder, trace)


@app.command(rich_help_panel=MAKE, epilog=example("tierloop calibrate --out host.toml"))
def calibrate(
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Policy file to measure; by default an untrained policy."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write.")] = Path("host.toml"),
) -> None:
    """Measures this machine and writes its hardware profile.

    Measures each job of a deployment: inference, control tick, commit, training and the like.
    """
    from tierloop.calibrate.calibrate import calibrate

    calibrate(policy, out)


@app.command(rich_help_panel=MAKE, epilog=example("tierloop schema"))
def schema() -> None:
    """Prints the JSON Schema of a deployment file."""
    from tierloop.stack.config.schema import schema

    sys.stdout.write(schema().decode())
    screen.delivered()


@app.command(rich_help_panel=LOOK, epilog=example("tierloop doctor deployments/sorting-cell.toml"))
def doctor(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Also check the addresses of this deployment."),
    ] = None,
) -> None:
    """Checks whether this machine and its libraries can run tierloop.

    Exits 1 if something needed is missing.
    """
    from tierloop.cli.doctor import examine

    raise typer.Exit(ExitCode.FINE if examine(file) else ExitCode.FAILED)


app.add_typer(measure.app)


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
    from tierloop.cli.run import conduct, conduct_virtual
    from tierloop.stack.config.deployment import load
    from tierloop.stack.config.deployment_file import DeploymentFile, RunConfig
    from tierloop.stack.config.toml import check_name
    from tierloop.stack.record.claim import fresh_folder

    options = list(sets or ())
    if for_s is not None:
        _fits("--for", lambda: RunConfig(duration_s=for_s))
        options += [f"run.duration_s={for_s}"]
    if seed is not None:
        _fits("--seed", lambda: DeploymentFile(name="x", seed=seed))
        options += [f"seed={seed}"]
    if out is not None:
        check_name(out)
    deployment = load(file, options, faults)
    with nullcontext(out) if out else fresh_folder(deployment.name) as folder:
        raise typer.Exit(
            conduct_virtual(deployment, folder) if virtual else conduct(deployment, roles, folder)
        )


def _fits(option: str, make: Callable[[], object]) -> None:
    """Raises UserError, in which the option as it was typed stands for the key, if it is unfit."""
    try:
        make()
    except ValueError as error:
        raise UserError(f"{option}: {str(error).partition(' ')[2]}") from None
