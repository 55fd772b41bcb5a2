"""The process of one run of a sweep: `python -m tierloop.sweep.worker` is what the pool starts.

One line of JSON, a RunOrder, comes in on standard input; the pipe then stays open as the lifeline,
as for every process that tierloop starts.
"""

import os
import signal
from pathlib import Path
from typing import NoReturn

import msgspec

from tierloop.exit_codes import ExitCode
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.lifeline import hold_lifeline
from tierloop.stack.record.files import write


class RunOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, and the file that its summary goes to."""

    deployment: Deployment
    to: str


def run(order: RunOrder) -> None:
    """Does the run and puts its summary in place, whole or not at all."""
    from tierloop.stack.virtual.run import run_virtual

    summary = run_virtual(order.deployment, order.deployment.seed)
    write(Path(order.to), msgspec.json.format(msgspec.json.encode(summary), indent=2))


def _stop(*_: object) -> NoReturn:
    raise SystemExit(ExitCode.TERMINATED)


def main() -> None:
    """Runs the one cell that standard input orders."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    with os.fdopen(os.dup(0), "rb", buffering=0) as pipe:
        line = pipe.readline()
    hold_lifeline()
    run(msgspec.json.decode(line, type=RunOrder))


if __name__ == "__main__":
    main()
