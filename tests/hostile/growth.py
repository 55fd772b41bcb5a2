"""Does the memory of a run grow with its length, and what does its end take?

    python tests/hostile/growth.py [--robots 100] [--minutes 14] [--wall]

On the virtual clock: plants, a roof, an edge and a cloud that learns, all in this one process; a
hundred of them take an hour of a core. With --wall: arms of the sorting cell in processes of their
own (`--robots 2`). A process is judged once it is warm: its libraries are loaded, a device has
written once to each row that it keeps, and the cloud has all the rows that it learns from.
"""

import argparse
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import psutil
from soak import LOOK_S, WARM_S
from verdict import Verdict, slope
from victims import ROOF, Victim, plant

from tierloop.stack.config.deployment import load
from tierloop.stack.virtual.run import VirtualRun
from tierloop.stack.watch import Status
from tierloop.views.finish import join

MB_PER_10_MIN = 1.0
"""What roof and cloud may grow by."""
END_MB = 100.0
"""What the end may take beyond the run: pyarrow and matplotlib, and a row group of the ledger."""
ROWS_MAX = 4000
"""Rows to learn from: all are there when a process counts as warm."""
CELL = Path(__file__).parents[2] / "deployments" / "sorting-cell.toml"
MB = 2**20

Samples = list[tuple[float, float]]
"""Seconds of the run, and resident megabytes."""


class Scale:
    """Weighs this process as a run goes; a view of it."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.samples: Samples = []

    def show(self, status: Status) -> None:
        self.samples.append((status.elapsed_s, self._process.memory_info().rss / MB))

    def close(self) -> None:
        pass


def virtual(verdict: Verdict, folder: Path, robots: int, lasts_s: float) -> None:
    names = [f"p-{n}" for n in range(robots)]
    file = plant(folder, "growth", names, seed=1)
    options = [f"run.duration_s={lasts_s}", f"learner.rows_max={ROWS_MAX}"]
    began_s, scale, out = time.monotonic(), Scale(), folder / "growth"
    with closing(VirtualRun(load(file, options), 1, out, scale)) as run:
        run.to_the_end()
        join(out)
    verdict.note("seconds that it took", f"{time.monotonic() - began_s:.0f}")
    peak_mb = getrusage(RUSAGE_SELF).ru_maxrss / 1024
    judge(verdict, "all in one process", scale.samples)
    at_end(verdict, peak_mb, scale.samples)


def wall(verdict: Verdict, folder: Path, robots: int, lasts_s: float) -> None:
    quoted = "[" + ", ".join(f'"arm-{n}"' for n in range(robots)) + "]"
    options = {
        "scenario.robots": quoted,
        "run.until_success": 0,
        "learner.rows_max": ROWS_MAX,
    }
    sets = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    victim = Victim("run", CELL, folder / "growth", "--for", f"{lasts_s:g}", *sets)
    samples: dict[str, Samples] = {}
    began_s = time.monotonic()
    try:
        while victim.process.poll() is None and time.monotonic() < began_s + lasts_s + 120:
            now_s = time.monotonic() - began_s
            for name, pid in victim.members().items():
                try:
                    held_mb = psutil.Process(pid).memory_info().rss / MB
                except psutil.Error:
                    continue
                samples.setdefault(name, []).append((now_s, held_mb))
            time.sleep(LOOK_S if now_s < lasts_s - 5 else 0.1)
        verdict.none("exit code", victim.interrupt())
    finally:
        victim.close()
    for name, held in sorted(samples.items()):
        running = [sample for sample in held if sample[0] < lasts_s - 5]
        judge(verdict, name, running, name in (ROOF, "cloud"))
    running = [sample for sample in samples[ROOF] if sample[0] < lasts_s - 5]
    at_end(verdict, max(mb for _, mb in samples[ROOF]), running)


def judge(verdict: Verdict, name: str, samples: Samples, judged: bool = True) -> None:
    """How fast a process grows once it is warm."""
    warm = [sample for sample in samples if sample[0] > WARM_S]
    grown_mb, lasted_s = round(600 * slope(warm), 2), warm[-1][0] - warm[0][0]
    what = f"{name}: MB in 10 min, over {lasted_s:.0f} s"
    if judged:
        verdict.at_most(what, grown_mb, MB_PER_10_MIN)
    else:
        verdict.note(what, f"{grown_mb}")


def at_end(verdict: Verdict, peak_mb: float, samples: Samples) -> None:
    """What the end took, beyond the most that was held before."""
    most_mb = max(mb for _, mb in samples)
    verdict.note("MB while it ran, at most", f"{most_mb:.0f}")
    verdict.at_most("MB more at its end", round(peak_mb - most_mb), END_MB)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robots", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=14.0)
    parser.add_argument("--wall", action="store_true", help="arms in real processes")
    options = parser.parse_args()
    if 60 * options.minutes < WARM_S + 60:
        parser.error(f"a run shorter than {(WARM_S + 60) / 60:.1f} minutes is not warm")
    verdict = Verdict()
    with tempfile.TemporaryDirectory(prefix="growth-") as text:
        live = wall if options.wall else virtual
        live(verdict, Path(text), options.robots, 60 * options.minutes)
    print(verdict.text())
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
