"""Do budgets travel? Judges this checkout by them on machines that this one can stand for.

    python tests/bench/travels.py [--runs N] [--python PATH]... [--for S] [BENCHMARK ...]

As it is; without AVX2 in glibc and numpy; with one core loaded; under each other Python that is
given, which must have the project's libraries. On each `tierloop bench --quick` (or the benchmarks
named) is run N times, which must never end with 3 and at most once with 4; and then the micro-costs
once with a fifth more work in each, which must break every line or leave it open. Ends with 1 if
that does not hold. Wants a machine that does nothing else.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from tierloop import contract

ROOT = Path(contract.__path__[0]).resolve().parent
MICRO = ("codec", "tick", "hand_over", "serving")
PLANT = (
    "from tierloop.benchmarks.rig import callgrind; callgrind.PLANTED_EVERY = 5; "
    "from tierloop.__main__ import main; main()"
)
NO_AVX2 = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX2_Usable,-ERMS,-FSRM",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
}


class Variant(NamedTuple):
    """A machine that this one stands for."""

    name: str
    python: str = sys.executable
    environment: dict[str, str] = {}  # noqa: RUF012
    loaded: bool = False


def bench(variant: Variant, start: list[str], words: list[str]) -> tuple[int, list[dict]]:
    """The exit code of a run, and its lines with the benchmark's name."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **variant.environment}
        done = subprocess.run(
            ["nice", variant.python, *start, "bench", *words, "--out", str(out)],
            env=environment, cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        if not (out / "bench.json").exists():
            print(done.stderr, file=sys.stderr)
            return done.returncode, []
        results = json.loads((out / "bench.json").read_text())["results"]
    for said in done.stderr.splitlines():
        print(f"  {variant.name}: {said}", file=sys.stderr)
    return done.returncode, [
        line | {"benchmark": r["name"]} for r in results for line in r["lines"]
    ]


@contextmanager
def loaded() -> Iterator[None]:
    """Keeps the first core busy."""
    core = min(os.sched_getaffinity(0))
    spin = ["taskset", "-c", str(core), sys.executable, "-c", "while True: pass"]
    busy = subprocess.Popen(spin)
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def missed(lines: list[dict]) -> list[str]:
    """Of a run with more work: what was counted and passed, or was not counted at all."""
    counted = [one for one in lines if one["clock"] == "instructions"]
    found = ("fail", "inconclusive")
    passed = [one for one in counted if one["verdict"] not in found]
    absent = set(MICRO) - {one["benchmark"] for one in counted}
    return [*sorted(absent), *(f"{one['metric']} {one['scenario']}".strip() for one in passed)]


def trial(variant: Variant, runs: int, words: list[str]) -> tuple[list[int], list[str]]:
    """The exit codes of runs of the code as it is, and where more work was not found."""
    with loaded() if variant.loaded else nullcontext():
        codes = [bench(variant, ["-m", "tierloop"], words)[0] for _ in range(runs)]
        _, lines = bench(variant, ["-c", PLANT], [*MICRO, "--for", "0.5"])
    return codes, missed(lines)


def main() -> None:
    """A line for each variant; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmarks", nargs="*")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--for", dest="seconds", type=float, default=None)
    asked = parser.parse_args()
    words = asked.benchmarks or ["--quick"]
    if asked.seconds is not None:
        words += ["--for", str(asked.seconds)]
    variants = [
        Variant("as it is"), Variant("no AVX2", environment=NO_AVX2),
        Variant("one core loaded", loaded=True),
        *(Variant(path, path) for path in asked.python),
    ]  # fmt: skip
    good = True
    for variant in variants:
        codes, lost = trial(variant, asked.runs, words)
        kept = set(codes) <= {0, 4} and codes.count(4) <= 1 and not lost
        good &= kept
        counts = ", ".join(f"{codes.count(code)} x exit {code}" for code in sorted(set(codes)))
        more = f"a fifth more work not found: {', '.join(lost)}" if lost else "all more work found"
        print(f"{variant.name:<24} {counts}; {more}", flush=True)
    raise SystemExit(not good)


if __name__ == "__main__":
    main()
