"""Twenty minutes with a fault every ten seconds: what grows, what is left, what is lost?

    python tests/hostile/soak.py [--minutes M] [--seed N] [--keep DIR] [--task sort]

The timeline is drawn from the seed, over every kind of docs/faults.md and all its targets. At
the end: invariants and audit, and of every process memory, descriptors and threads over its longest
life. Nothing may be left in the folders for scratch or of private sockets.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from books import inspect
from verdict import Verdict, lives, slope
from victims import DEFAULT, ROOF, Victim, Vital, plant

from tierloop.link.address import IPC
from tierloop.stack.faults.kinds import DEVICE, KINDS
from tierloop.stack.record.summary import INFLICTED, OVER

ROBOTS = ("arm-0", "arm-1")
EVERY_S = 10.0
CALM_S = 20.0
"""Without a fault at the beginning and at the end: a start, and all that waits goes up."""
WARM_S = 220.0
"""A life is judged from then on: libraries and the first rounds of learning are there, and a device
has written once to each of the 4,096 rows it keeps (205 s at 20 Hz; 1 MB)."""
LOOK_S = 1.0
SLOPE_MB_PER_10_MIN = {ROOF: 4.0, "edge": 2.0, "cloud": 12.0, DEVICE: 2.0}
"""What a process may grow by. The roof holds what became of processes: every life of one, some
60 kB, and every event; the cloud the experience it trains on."""
LIBRARIES = ("torchinductor_", ".ses")
"""What torch and onnxruntime keep in scratch between runs."""
VALUES: dict[str, Any] = {
    "loss": (0.05, 1.0), "delay_ms": (5.0, 400.0), "bandwidth_mbps": (0.01, 2.0),
    "share": (0.05, 0.6), "factor": (1.5, 10.0), "step_ms": (20.0, 4000.0), "ppm": (-300.0, 300.0),
}  # fmt: skip


def timeline(rng: random.Random, lasts_s: float) -> str:
    """`[[fault]]` tables: one every ten seconds, every kind in turn before one comes again."""
    text, deck, at_s = "", [], CALM_S
    while at_s < lasts_s - CALM_S:
        deck = deck or rng.sample(sorted(KINDS), len(KINDS))
        text += _fault(rng, deck.pop(), at_s, lasts_s - CALM_S - at_s)
        at_s += EVERY_S
    return text


def _fault(rng: random.Random, kind: str, at_s: float, room_s: float) -> str:
    known = KINDS[kind]
    targets = [t for t in known.tiers if t != DEVICE]
    targets += [*ROBOTS, DEVICE] if DEVICE in known.tiers else []
    lines = {"kind": f'"{kind}"', "at_s": f"{at_s:.2f}", "target": f'"{rng.choice(targets)}"'}
    for field in known.__struct_fields__:
        if field == "for_s":
            lines[field] = f"{min(rng.uniform(0.2, 12.0), max(room_s, 0.2)):.2f}"
        elif field == "direction":
            lines[field] = f'"{rng.choice(("both", "up", "down"))}"'
        elif field in VALUES:
            lines[field] = f"{rng.uniform(*VALUES[field]):.4f}"
        elif field not in lines:
            raise ValueError(f"soak.py knows no value for {kind}.{field}")
    return "\n[[fault]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def shared() -> set[Path]:
    """What lies in the memory that all processes of the host share."""
    return {*Path("/dev/shm").iterdir()} if Path("/dev/shm").is_dir() else set()


def judge(verdict: Verdict, vitals: list[Vital]) -> None:
    """Memory, descriptors and threads of each process over the longest of its lives."""
    for name, by_pid in sorted(lives(vitals).items()):
        longest = max(by_pid.values(), key=lambda samples: samples[-1].at_s - samples[0].at_s)
        warm = [v for v in longest if v.at_s > longest[0].at_s + WARM_S]
        if len(warm) < 60:
            verdict.note(f"{name}: growth", f"no life of {WARM_S + 60 * LOOK_S:.0f} s")
            continue
        role = name if name in SLOPE_MB_PER_10_MIN else DEVICE
        grown_mb = 600 * slope([(v.at_s, v.rss / 2**20) for v in warm])
        lasted_s = warm[-1].at_s - warm[0].at_s
        verdict.at_most(
            f"{name}: MB in 10 min, over {lasted_s:.0f} s",
            round(grown_mb, 2),
            SLOPE_MB_PER_10_MIN[role],
        )
        third = len(warm) // 3
        for what in ("fds", "threads"):
            first, last = (
                [getattr(v, what) for v in part] for part in (warm[:third], warm[-third:])
            )
            verdict.at_most(f"{name}: {what}, least of the last third", min(last), max(first))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--keep", type=Path, help="a new folder for the record, which else is deleted"
    )
    options = parser.parse_args()
    lasts_s, verdict, before = 60 * options.minutes, Verdict(), shared()
    faults = timeline(random.Random(options.seed), lasts_s)
    with tempfile.TemporaryDirectory(prefix="soak-") as text:
        folder = options.keep or Path(text)
        file = plant(folder, "soak", ROBOTS, options.seed, faults=faults)
        victim = Victim("run", file, folder / "soak", "--for", f"{lasts_s:g}")
        end_s = time.monotonic() + lasts_s + 60
        try:
            while victim.process.poll() is None and time.monotonic() < end_s:
                victim.look(time.monotonic())
                time.sleep(LOOK_S)
            verdict.none("exit code", victim.interrupt())
            verdict.none("processes left", len(victim.orphans(5.0)))
        finally:
            victim.close()
        _record(verdict, victim.out, faults.count("[[fault]]"))
        judge(verdict, victim.vitals)
        sockets = Path(DEFAULT.placed(victim.out).device_edge.removeprefix(IPC)).parent
        new = [*sockets.iterdir(), *(shared() - before)]
        made = [*map(Path, victim.left()), *new]
        left = sorted(str(path) for path in made if not path.name.startswith(LIBRARIES))
        verdict.none("left in scratch folders", len(left))
        if left:
            verdict.note("  namely", ", ".join(left[:5]))
    print(verdict.text())
    print(f"seed {options.seed}: {'broken' if verdict.code else 'all held'}")
    return verdict.code


def _record(verdict: Verdict, out: Path, planned: int) -> None:
    summary = json.loads((out / "summary.json").read_text())
    began = [
        f for f in summary["faults"] if f["fault"].startswith(INFLICTED) and f["fault"] != OVER
    ]
    verdict.at_least("faults of the timeline that began", len(began), planned)
    pauses = [b["at_s"] - a["at_s"] for a, b in pairwise(began)]
    verdict.note(
        "seconds from fault to fault",
        f"{min(pauses, default=0):.1f} to {max(pauses, default=0):.1f}",
    )
    for name, count in summary["invariants"].items():
        verdict.none(f"invariant {name}", count)
    books = inspect(out)
    for name, count in books.wrong.items():
        verdict.none(f"own audit: {name}", count)
    verdict.note("experience", " ".join(f"{k} {v}" for k, v in summary["experience"].items()))
    verdict.note(
        "decisions", f"{summary['decisions']['n']}, age p99 {summary['action_age_ms']['p99']} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
