"""Holds the documents to their figures: `python tests/house/figures.py` (`make figures`).

docs/figures.toml lists the figures of README.md and docs/, each with the command that prints it.
Every command runs once, one at a time; a table shows what the documents say and what is printed
now. Exit code 3 if a figure does not hold, 1 if a command fails.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from figure_list import LIST, Command, Figure, FigureList, Finding, compare, find, load
from rich.markup import escape
from rich.table import Table

from tierloop.bench.bench_command import console
from tierloop.exit_codes import ExitCode
from tierloop.stack.machine import processors
from tierloop.stack.record.summary import processor

ROOT = Path(__file__).parents[2]
SCRATCH = "runs/figures"
"""Where the commands leave what they write; made anew."""
LONGEST_S = 900
MARKS = {True: "holds", False: "[bold red]does not hold[/]", None: "not judged"}


def here() -> str:
    """This machine, as the list names one."""
    return f"{processor()}, {processors()} processors"


def carry_out(command: Command, root: Path) -> tuple[str, str]:
    """What it printed; and, if it failed, why."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(root),
        "COLUMNS": "150",
    }
    with subprocess.Popen(
        ["sh", "-ec", command.run], cwd=root, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            output, errors = process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            return "", f"took more than {LONGEST_S} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
    failed = f"exit {process.returncode}: {(errors or output).strip()[-300:]}"
    return output, failed if process.returncode else ""


def in_order(names: Iterable[str], commands: dict[str, Command]) -> list[str]:
    """The commands, each behind those that it needs."""
    ordered: dict[str, None] = {}
    for name in names:
        ordered |= dict.fromkeys([*in_order(commands[name].needs, commands), name])
    return list(ordered)


def judge(figures: list[Figure], listed: FigureList, root: Path) -> tuple[list[Finding], bool]:
    """Runs what the figures need; what was found of each, and whether a command failed."""
    names = in_order(dict.fromkeys(figure.command for figure in figures), listed.command)
    minutes = sum(listed.command[name].seconds for name in names) / 60
    print(f"{len(figures)} entries, {len(names)} commands, about {minutes:.0f} minutes")
    print(f"measured on: {listed.machine}")
    print(f"this machine: {here()}, load {os.getloadavg()[0]:.1f}", flush=True)
    if listed.machine != here():
        print("The exact figures alone are judged here; the others are shown.", flush=True)
    findings, failed = [], False
    for i, name in enumerate(names, 1):
        command, begun = listed.command[name], time.monotonic()
        print(f"[{i} of {len(names)}] {name} ({command.clock}): {command.run}", flush=True)
        output, why = carry_out(command, root)
        print(f"    {time.monotonic() - begun:.1f} s {why}", flush=True)
        failed = failed or bool(why)
        judged = command.clock == "exact" or listed.machine == here()
        for figure in figures:
            if figure.command == name:
                document = (root / figure.file).read_text("utf-8")
                findings += compare(figure, command, document, output, judged)
    return findings, failed


def shown(findings: Iterable[Finding]) -> Table:
    """All figures, those that do not hold at the end; of what is printed by lines, those alone."""
    table = Table("document", "words", "there", "now", "tolerance", "", box=None)
    for figure, words, there, now, holds in sorted(findings, key=lambda f: f.holds is False):
        if figure.reads or not holds:
            tolerance = f"{figure.tolerance}" if figure.reads else ""
            verdict = MARKS[holds] if now else "[bold red]not printed[/]"
            table.add_row(*map(escape, (figure.file, words, there, now, tolerance)), verdict)
    return table


def write(findings: list[Finding], root: Path) -> None:
    """Puts what was printed in the place of what stands in a document, and in the list.

    A bound that holds stays, and so does what was not printed.
    """
    figure = findings[0].figure
    printed = [finding.now for finding in findings if finding.now]
    lacks = len(printed) < len(findings) if figure.reads else not printed
    bound = figure.tolerance in ("at most", "at least") and all(f.holds for f in findings)
    if lacks or bound:
        return
    document, listed = root / figure.file, root / LIST
    text = document.read_text("utf-8")
    stands = find(figure.text, text)
    assert stands is not None
    if figure.reads:
        for group, now in reversed([*enumerate(printed, 1)]):
            text = text[: stands.start(group)] + now + text[stands.end(group) :]
        values = iter(printed)
        new = re.sub(r"\{.*?\}", lambda _: f"{{{next(values)}}}", figure.text)
        listed.write_text(listed.read_text("utf-8").replace(figure.text, new), "utf-8")
    else:
        lines = "\n".join(finding.now for finding in findings).rstrip()
        text = text[: stands.start()] + lines + text[stands.end() :]
    document.write_text(text, "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", default="", metavar="WORD", help="in document, words or command")
    parser.add_argument("--clock", nargs="*", help="exact, virtual, cpu, wall")
    parser.add_argument("--write", action="store_true", help="write all of it down anew")
    options = parser.parse_args()
    listed = load(ROOT)
    figures = [
        figure
        for figure in listed.figure
        if options.only in f"{figure.file} {figure.text} {figure.command}"
        and (not options.clock or listed.command[figure.command].clock in options.clock)
    ]
    shutil.rmtree(ROOT / SCRATCH, ignore_errors=True)
    (ROOT / SCRATCH).mkdir(parents=True)
    findings, failed = judge(figures, listed, ROOT)
    console().print(shown(findings))
    broken = [finding for finding in findings if finding.holds is False]
    if options.write:
        for figure in figures:
            write([found for found in findings if found.figure is figure], ROOT)
    print(f"{len(broken)} of {len(findings)} figures do not hold")
    return ExitCode.FAILED if failed else ExitCode.BROKEN if broken else ExitCode.FINE


if __name__ == "__main__":
    sys.exit(main())
