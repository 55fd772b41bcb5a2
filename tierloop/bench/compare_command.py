"""The commands around a comparison: what is printed and written, the exit code, the self-test."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tierloop.bench import compare as c
from tierloop.bench.bench_command import console
from tierloop.bench.checkout import Side, checkout
from tierloop.bench.compare import Compared
from tierloop.bench.hot_paths import PATHS_BEFORE, CannotRunError, paths
from tierloop.bench.statistics import Verdict, share
from tierloop.bench.suite import TONES
from tierloop.bench.verdicts import exit_code
from tierloop.contract.errors import UserError
from tierloop.contract.wording import near
from tierloop.exit_codes import ExitCode
from tierloop.stack.record.files import write

PLANTED = 0.2
"""The slowdown that the self-test plants in the codec."""

FOUND_MIN, ALARMS_MAX = 0.95, 0.05
"""Of the tries: planted slowdowns found at least, false alarms at most."""

SELF_TEST = ("codec",)


def hot(base: Side, head: Side, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The hot paths to compare, and a line for each that only one side has.

    These are `names`, or without any those that both sides have. Raises UserError if neither side
    has one of the names. A side whose worker ends counts as having the other's paths: the pairs
    then say why it does not run them.
    """
    at_base, at_head = _paths(base), _paths(head)
    at_base = at_base or at_head or list(PATHS_BEFORE)
    at_head = at_head or at_base
    known = list(dict.fromkeys([*at_base, *at_head]))
    for name in names:
        if name not in known:
            hint = near(name, known) or f"; choose one of: {', '.join(known)}"
            raise UserError(f"unknown hot path '{name}'{hint}")
    if names:
        return list(names), []
    both = [name for name in known if name in at_base and name in at_head]
    alone = [
        f"not compared: {name}, which only {(base if name in at_base else head).name} has"
        for name in known
        if name not in both
    ]
    return both, alone


def _paths(side: Side) -> list[str]:
    try:
        return paths(side)
    except CannotRunError:
        return []


def compare(base: str, head: str, names: Sequence[str], pairs: int, out: Path | None) -> int:
    """Compares two checkouts; the exit code: 3 if the head is slower or broken, 4 if unclear.

    Raises UserError for a checkout that is none or has no worker, and for an unknown hot path.
    """
    screen = console()
    if pairs < 2:
        raise UserError(f"--pairs {pairs}: must be 2 or more")
    with checkout(base) as one, checkout(head) as other, screen.status("starting") as status:
        chosen, alone = hot(one, other, names)
        for one_sided in alone:
            screen.print(one_sided, markup=False, highlight=False)
        if not chosen:
            raise UserError(f"{base} and {head} have no hot path in common")
        screen.print(f"{head} is compared with {base} in {pairs} pairs of processes")
        found = c.compare(one, other, chosen, pairs, status.update)
    show(found, screen)
    if out is not None:
        write(out, msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    for line in found:
        if line.verdict is Verdict.FAIL and not line.pairs:
            _stderr(f"broken: {line.name} {line.why}")
        elif line.verdict is Verdict.FAIL:
            took = f"takes {line.ratio:.3f} times as long as at {base}"
            limit = f"({line.low:.3f} to {line.high:.3f}); the limit is {1 + c.TOLERANCE:g}"
            _stderr(f"slower: {line.name} {took} {limit}")
        elif line.verdict is Verdict.INCONCLUSIVE:
            _stderr(f"inconclusive: {line.name} {line.why}")
    return exit_code([line.verdict for line in found])


def self_test(tries: int, pairs: int) -> int:
    """Compares this checkout with itself and with a slower copy; 0 if `compare` is seldom wrong."""
    if tries < 1:
        raise UserError(f"--tries {tries}: must be 1 or more")
    from tierloop import contract

    here, screen = Path(contract.__path__[0]).resolve().parent, console()
    same = Side("base", here, 0.0)
    alarms = found = unclear = 0
    for number in range(1, tries + 1):
        with screen.status(f"try {number} of {tries}"):
            (alike,) = c.compare(same, Side("head", here, 0.0), SELF_TEST, pairs)
            (slow,) = c.compare(same, Side("head", here, PLANTED), SELF_TEST, pairs)
        alarms += alike.verdict is Verdict.FAIL
        unclear += alike.verdict is Verdict.INCONCLUSIVE
        found += slow.verdict is Verdict.FAIL
        screen.print(
            f"try {number} of {tries}: same code {alike.ratio:.3f}x {alike.verdict}, "
            f"code with {PLANTED:.0%} more work {slow.ratio:.3f}x {slow.verdict}", highlight=False,
        )  # fmt: skip
    _state(screen, "same code, called slower", alarms, tries)
    _state(screen, f"{PLANTED:.0%} more work in the codec, found", found, tries)
    screen.print(f"same code, inconclusive: {unclear} of {tries}", highlight=False)
    good = alarms <= ALARMS_MAX * tries and found >= FOUND_MIN * tries
    return ExitCode.FINE if good else ExitCode.FAILED


def show(found: Sequence[Compared], screen: Console) -> None:
    """The table of a comparison."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("hot path", "base", "head / base", "verdict"):
        table.add_column(name, justify="left" if name in ("hot path", "verdict") else "right")
    for line in found:
        ratio = f"{line.ratio:.3f} [{line.low:.3f}, {line.high:.3f}]" if line.pairs else "-"
        base = f"{line.base_us:.2f} us" if line.pairs else "-"
        verdict = Text(str(line.verdict), TONES[line.verdict])
        table.add_row(line.name, base, Text(ratio), verdict)
    screen.print(table)


def _state(screen: Console, what: str, hits: int, tries: int) -> None:
    low, high = share(hits, tries)
    text = f"{what}: {hits} of {tries} (95% interval of the rate: {low:.1%} to {high:.1%})"
    screen.print(text, highlight=False)


def _stderr(text: str) -> None:
    Console(stderr=True).print(f"tierloop: {text}", markup=False, highlight=False, soft_wrap=True)
