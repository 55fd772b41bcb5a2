"""Conducts a run from the checks to the closing words and the exit code."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console

from tierloop.exit_codes import ExitCode
from tierloop.stack import screen
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.config.deployment_file import TIERS
from tierloop.stack.record import sessions
from tierloop.stack.record.damage import line
from tierloop.stack.record.folder import PARTS, check_folder
from tierloop.stack.record.record import Record
from tierloop.stack.record.summary import missed_share, told_faults
from tierloop.stack.wall.processes import ROLES
from tierloop.stack.wall.run import Run, check_run
from tierloop.stack.watch import Signals
from tierloop.views.finish import PAGE, SUMMARY, conclude, join
from tierloop.views.remarks import EXPERIENCE, alone, remarks, verdict
from tierloop.views.terminal import view

if TYPE_CHECKING:
    from tierloop.stack.virtual.run import VirtualRun

_ENDS = {
    "goal": "the newest policy version reached its goal",
    "time": "time limit reached",
    "signal": "stopped by a signal",
}
_ALWAYS = ("produced", "acked", "stored", "shed")
"""Counts of segments that are always shown; the others only where they are not 0."""
NEVER = "not connected to any other tier during the whole run"
TOGETHER = "Start all tiers from the same file; on one machine, also with the same --out."
LAST_WORDS_S = 1.0
"""A reader of what a run says at its end is waited for so long; while it runs, not at all."""


def conduct(deployment: Deployment, roles: tuple[str, ...], out: Path) -> int:
    """Runs `roles` of a deployment into `out`; the exit code. Raises UserError before it starts."""
    check_run(deployment, roles, out)
    _check_budgets(deployment)
    whole = set(roles) == set(ROLES)
    if whole:
        library = "matplotlib.figure"  # takes long to import, and is needed at the end
        Thread(target=import_module, args=(library,), daemon=True).start()
    console = Console()
    screen.wait_at_most(0)
    shown = view(console)
    try:
        run = Run(deployment, roles, out, shown)
        why = run.until_end()
    finally:
        shown.close()
        screen.wait_at_most(LAST_WORDS_S)
    if why == "mistake":
        Console(stderr=True).print(run.mistake, markup=False, highlight=False, soft_wrap=True)
        return ExitCode.WRONG_INPUT
    lived = _lived(run.lived_s, deployment)
    console.print(f"Ended: {_ENDS[why]}, {lived}.", highlight=False)
    if not whole:
        lonely = sessions.alone(run.record)
        for one in sessions.silence(run.record, lonely):
            if one["lasting"]:
                console.print(
                    f"{alone(one, NEVER)}.", markup=False, highlight=False, soft_wrap=True
                )
        if lonely:
            console.print(TOGETHER, soft_wrap=True)
        console.print(
            f"Record of this tier: {out}  (when all tiers have ended: tierloop report {out})",
            soft_wrap=True,
        )
        return _together(lonely, why == "signal")
    summary = _joined(run, deployment, out, out)
    screen.wait_at_most(LAST_WORDS_S)
    print_summary(summary, out)
    judged = _budgets(run.record, summary, deployment, out)
    return run_code(summary, why == "signal") or judged


def conduct_virtual(deployment: Deployment, out: Path) -> int:
    """Runs a deployment into `out` on the virtual clock; the exit code. Raises UserError first."""
    from tierloop.stack.virtual.run import VirtualRun

    check_folder(out, deployment, deployment.processes(*TIERS))
    _check_budgets(deployment)
    console, signals = Console(), Signals()
    screen.wait_at_most(0)
    shown = view(console)
    try:
        run = VirtualRun(deployment, deployment.seed, out, shown, lambda: signals.heard > 0)
        with closing(run):
            why = run.to_the_end()
            summary = _joined(run, deployment, out, run.state, run.unkept)
    finally:
        shown.close()
        screen.wait_at_most(LAST_WORDS_S)
    lived = _lived(run.lived_s, deployment)
    console.print(f"Ended: {_ENDS[why]}, {lived}; {run.speed:.1f}x real time.", highlight=False)
    print_summary(summary, out)
    judged = _budgets(run.record, summary, deployment, out)
    return run_code(summary, why == "signal") or judged


def _joined(
    run: "Run | VirtualRun",
    deployment: Deployment,
    out: Path,
    state: Path,
    unkept: Sequence[str] = (),
) -> dict[str, Any]:
    """Joins what lies on the disk; what it lacks, from memory."""
    if run.lacks:
        return conclude(out, deployment, run.record, state, unkept)
    return join(out)


def _lived(lived_s: float, deployment: Deployment) -> str:
    return f"after {lived_s:.1f} s of {deployment.run.duration_s:g} s"


def _together(lonely: Sequence[str], interrupted: bool) -> int:
    """A tier's run has failed if one of its processes was never in session with anybody."""
    return (ExitCode.INCONCLUSIVE if interrupted else ExitCode.FAILED) if lonely else ExitCode.FINE


def _check_budgets(deployment: Deployment) -> None:
    if deployment.budget:
        from tierloop.bench import run_budgets

        run_budgets.check(deployment.budget)


def _budgets(record: Record, summary: Mapping[str, Any], deployment: Deployment, out: Path) -> int:
    """3 if a budget of the deployment is broken, 4 if one cannot be told, with a line for each."""
    if not deployment.budget:
        return ExitCode.FINE
    from tierloop.bench import run_budgets

    return run_budgets.verdict(record, summary, deployment.budget, out)


def run_code(summary: Mapping[str, Any], interrupted: bool) -> int:
    """A run fails if an invariant was violated, or if no action ever reached a body.

    It is inconclusive if its record is damaged, or if its summary could not be kept.
    """
    if any(summary["invariants"].values()):
        return ExitCode.FAILED
    unsure = bool(summary.get("damaged")) or not summary_kept(summary)
    if summary["action_age_ms"]["n"] == 0:
        return ExitCode.INCONCLUSIVE if interrupted or unsure else ExitCode.FAILED
    return ExitCode.INCONCLUSIVE if unsure else ExitCode.FINE


def print_summary(summary: Mapping[str, Any], out: Path) -> None:
    """A small table of the headline figures, and where the record lies; what of it is damaged."""
    for words in warnings(summary):
        print(f"tierloop: {words}", file=sys.stderr)
    if not summary_kept(summary):
        print(msgspec.json.encode(summary).decode())
    print()
    for name, text in headlines(summary):
        print(f"  {name:<21}{text}")
    for words in remarks(summary):
        print(f"\n  {words}.")
    read = f"  (open {out / PAGE} in a browser)" if summary_kept(summary, PAGE) else ""
    print(f"\nRecord: {out}{read}")


def warnings(summary: Mapping[str, Any]) -> list[str]:
    """What of the record is damaged, lacks or could not be kept, a line each."""
    lacks = [
        f"{lack['reports']} {lack['what']} from {lack['from_s']} s to {lack['to_s']} s are missing "
        f"from the record: {lack['why']}"
        for lack in summary["lacks"]
    ]
    return [
        *(line(damage) for damage in summary["damaged"] if damage["file"] != PARTS),
        *lacks,
        *(f"not written: {words}" for words in summary["unkept"]),
    ]


def summary_kept(summary: Mapping[str, Any], name: str = SUMMARY) -> bool:
    """Whether this file of the record is on the disk."""
    return not any(words.startswith(name) for words in summary.get("unkept", ()))


def headlines(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures a run is judged by, as name and text."""
    age, ticks, energy = summary["action_age_ms"], summary["ticks"], summary["energy_j"]
    experience = summary["experience"]
    lines = [
        (
            f"success of v{v['version']}",
            f"{v['success_rate']:.2f}  ({v['successes']} of {v['episodes']} episodes)",
        )
        for v in summary["policy_versions"]
        if v["episodes"]
    ]
    if (promised := summary["lived_against_twin"])["episodes"]:
        figure = f"{promised['lived']:.2f} against {promised['twin']:.2f} at the gate"
        lines.append(("lived against twin", f"{figure}  ({promised['episodes']} episodes)"))
    if age["n"]:
        first, oldest = summary["first_use_age_ms"], summary["oldest_age_ms"]
        more = f"(at first use {first['p50']:.1f} ms, oldest p99 {oldest['p99']:.1f} ms)"
        lines.append(("age of action", f"p50 {age['p50']:.1f} ms  p99 {age['p99']:.1f} ms  {more}"))
    due, share = ticks["n"] + ticks["missed"], missed_share(ticks) or 0.0
    lines.append(("missed ticks", f"{ticks['missed']} of {due}  ({share:.2%})"))
    if energy["per_success"] is not None:
        low_j, high_j = energy["per_success_interval"]
        figure = f"{energy['per_success']:.0f} J  ({energy['source']}: {low_j:.0f} to {high_j:.0f})"
        learnt = f"; learning took {energy['learning']:.0f} J besides" if energy["learning"] else ""
        lines.append(("energy per success", figure + learnt))
    for robot, battery in energy["battery"].items():
        if battery["cut_out"]:
            cut_v, lowest_v = battery.get("cut_out_v"), battery["lowest_v"]
            figure = f"cut out at {cut_v:.2f} V" if cut_v else "cut out"
            lines.append((f"battery of {robot}", f"{figure}; lowest voltage {lowest_v:.2f} V"))
    known = ", ".join(
        f"{experience[key]} {words}"
        for key, words in EXPERIENCE.items()
        if key in _ALWAYS or experience.get(key)
    )
    unknown = "" if experience["checked"] else "  (not checked: this record has no cloud store)"
    lines.append(("experience segments", known + unknown))
    if summary["cloud"]["waiting_share"] is not None:
        spent_s = summary["cloud"]["phase_s"]
        longest = sorted(spent_s, key=lambda phase: -spent_s[phase])[:4]
        shown = "  ".join(f"{phase} {spent_s[phase]:.0f} s" for phase in longest)
        lines.append(("cloud waited", f"{summary['cloud']['waiting_share']:.0%}  ({shown})"))
    lines.append(("invariants", verdict(summary)))
    if faults := told_faults(summary):
        lines.append(("faults", faults))
    return lines
