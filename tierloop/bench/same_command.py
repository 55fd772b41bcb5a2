"""The command around `same`: progress, the first differences of each case, the exit code."""

import time
from collections.abc import Sequence

from rich.console import Console

from tierloop.bench import same as s
from tierloop.bench.bench_command import console
from tierloop.bench.checkout import checkout
from tierloop.contract.errors import UserError
from tierloop.contract.wording import near
from tierloop.exit_codes import ExitCode

SHOWN = 10
"""Differences shown of each case."""

WIDTH = 60
"""Characters shown of a value."""


def same(base: str, head: str, names: Sequence[str]) -> int:
    """Runs the cases on two checkouts; the exit code: 3 if they differ, 1 if a case does not run.

    Raises UserError for an unknown case or checkout.
    """
    for name in names:
        if name not in s.CASES:
            hint = near(name, s.CASES) or f"; choose one of: {', '.join(s.CASES)}"
            raise UserError(f"unknown case '{name}'{hint}")
    chosen, screen = list(names or s.CASES), console()
    different, failed, began_s = list[str](), list[str](), time.monotonic()
    with checkout(base) as one, checkout(head) as other, screen.status("starting") as status:
        for number, name in enumerate(chosen, 1):
            status.update(f"{name} ({number} of {len(chosen)})")
            try:
                case = s.run(one, other, s.CASES[name])
            except s.NoSummaryError as error:
                failed.append(name)
                _say(screen, f"{name:<16}does not run: {error}")
                continue
            if case.differences:
                different.append(name)
            _show(screen, name, case)
    equal = len(chosen) - len(different) - len(failed)
    took_s = time.monotonic() - began_s
    _say(screen, f"{head} equals {base} in {equal} of {len(chosen)} cases, {took_s:.0f} s")
    for what, which in (("different", different), ("does not run", failed)):
        if which:
            _say(Console(stderr=True), f"tierloop: {what}: {', '.join(which)}")
    return ExitCode.FAILED if failed else ExitCode.BROKEN if different else ExitCode.FINE


def _show(screen: Console, name: str, case: s.CaseResult) -> None:
    count = len(case.differences)
    word = ("1 key differs" if count == 1 else f"{count} keys differ") if count else "equal"
    _say(screen, f"{name:<16}{word}  trace {case.trace[:12]}  {case.seconds:.0f} s")
    for key, at_base, at_head in case.differences[:SHOWN]:
        _say(screen, f"  {key}: {at_base[:WIDTH]} -> {at_head[:WIDTH]}")
    if count > SHOWN:
        _say(screen, f"  and {count - SHOWN} more")


def _say(screen: Console, text: str) -> None:
    screen.print(text, markup=False, highlight=False, soft_wrap=True)
