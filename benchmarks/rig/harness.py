"""What every benchmark shares: processes beside this one, and a command of its own."""

import argparse
import os
import socket

from tierloop.bench import suite, verdicts
from tierloop.bench.bench_command import console as wide
from tierloop.bench.protocol import Benchmark
from tierloop.exit_codes import ExitCode


def address() -> str:
    """A loopback address that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def stay(side: int) -> None:
    """Keeps this process on a core, side 0 the asker's and side 1 the servers', as on two hosts."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[min(side, len(cores) - 1)]})


def main(benchmark: Benchmark) -> None:
    """Runs one benchmark as a command, without budgets."""
    parser = argparse.ArgumentParser(
        description=f"{benchmark.question} Baseline: {benchmark.bare}."
    )
    parser.add_argument("--for", dest="seconds", type=float, default=suite.FULL_S, metavar="S")
    console = wide()
    results, _ = suite.run([benchmark], parser.parse_args().seconds, (), console)
    document = verdicts.document(results, ())
    suite.show(document, console)
    raise SystemExit(ExitCode.FAILED if results[0].error else ExitCode.FINE)
