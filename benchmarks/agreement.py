"""Do the two clocks agree? The sorting cell over wifi with a trained policy, on both, side by side.

    python -m tierloop.benchmarks.agreement --policy policy.artefact

The same deployment is run on the wall clock (real processes and sockets, frames shaped by the link
model) and on the virtual clock. They agree if the ages of action do (p50 within 10 % + 2 ms, p90
within 20 % + 5 ms of the wall's) and the virtual success lies in the wall's 95 % interval. Exit
code 1 if not. What the wall adds of its own (a scheduler that wakes a process late) is in its
figures: on a machine that is busy with other work the two may disagree, and that is then so.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from tierloop.bench.protocol import Benchmark, Series
from tierloop.benchmarks.rig.teach import taught, teach
from tierloop.contract.budget import Metric
from tierloop.contract.clock import NS_PER_MS
from tierloop.contract.specs import Vector
from tierloop.sim.scenario import Scenario
from tierloop.stack.record.summary import host, missed_share
from tierloop.views.charts import wilson

CELL = Path(__file__).parents[1] / "deployments" / "sorting-cell.toml"
SETTINGS = (
    "links.device.preset=wifi",
    "cloud.ray=none",
    "learner.rounds_max=1",
    "run.until_success=0",
)
"""The policy is given and stays as it is."""
SHOWN = (10, 25, 50, 75, 90, 95, 99)
BOUNDS = {50: (0.10, 2.0), 90: (0.20, 5.0)}
"""How far a percentile of the age may differ: a share of the wall's, plus milliseconds."""


BLOCKS = 16
"""A run's decisions, in order of time, are cut into so many stretches."""
LONGER = 3
"""Times as long as other benchmarks of the suite."""
AGE = Metric("mean_first_use_age", "ms", "sorting cell, bare is the virtual clock")
TRIP = Metric("mean_round_trip", "ms", "sorting cell, bare is the virtual clock")


class Seen(NamedTuple):
    """What one run on one clock showed: ages and round trips float64[n], in milliseconds."""

    clock: str
    age_ms: Vector
    round_trip_ms: Vector
    episodes: int
    successes: int
    missed_share: float

    @property
    def success(self) -> float:
        return self.successes / self.episodes if self.episodes else float("nan")


class Agreement(NamedTuple):
    """One figure on both clocks, and how far they may be apart."""

    name: str
    wall: float
    virtual: float
    low: float
    high: float

    @property
    def agrees(self) -> bool:
        return self.low <= self.virtual <= self.high

    def __str__(self) -> str:
        word = "agree" if self.agrees else "DISAGREE"
        return (
            f"{self.name:<16} wall {self.wall:8.3f}  virtual {self.virtual:8.3f}  "
            f"allowed {self.low:.3f} to {self.high:.3f}: {word}"
        )


def run(clock: str, policy: Path, seconds: float, out: Path, sets: Sequence[str] = ()) -> Seen:
    """The cell on one clock for `seconds` of its time, by the command a user would give."""
    options = [
        *SETTINGS, *sets, f"policy.initial={policy.resolve()}", f"run.duration_s={seconds}",
        *(f"links.{name}=tcp://127.0.0.1:{port}" for name, port in _free_ports().items()),
    ]  # fmt: skip
    words = [sys.executable, "-m", "tierloop", "run", str(CELL), "--clock", clock]
    words += [word for option in options for word in ("--set", option)]
    done = subprocess.run(
        [*words, "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}\n{done.stdout}")
    return read(clock, out)


def read(clock: str, out: Path) -> Seen:
    """What the record of a run says."""
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    names = ("captured_ns", "sent_ns", "received_ns", "applied_ns")
    ledger = pq.read_table(out / "ledger.parquet", columns=list(names))
    captured, sent, received, applied = (ledger.column(name).to_numpy() for name in names)
    acted, answered = applied > 0, (received > 0) & (sent > 0)
    ticks, success = summary["ticks"], summary["success"]
    return Seen(
        clock,
        (applied - captured)[acted] / NS_PER_MS,
        (received - sent)[answered] / NS_PER_MS,
        success["episodes"],
        success["successes"],
        missed_share(ticks) or 0.0,
    )


def agreements(wall: Seen, virtual: Seen) -> list[Agreement]:
    """The promises, each with what is allowed around the wall's figure."""
    verdicts = []
    for q, (share, more_ms) in BOUNDS.items():
        ours, theirs = (float(np.percentile(seen.age_ms, q)) for seen in (wall, virtual))
        reach = share * ours + more_ms
        name = f"age p{q}, ms"
        verdicts.append(Agreement(name, ours, theirs, ours - reach, ours + reach))
    low, high = wilson(wall.successes, wall.episodes) if wall.episodes else (0.0, 1.0)
    return [*verdicts, Agreement("success", wall.success, virtual.success, low, high)]


def show(wall: Seen, virtual: Seen) -> None:
    """Prints both distributions side by side."""
    both = (wall, virtual)
    print(f"{'':<22}" + "".join(f"{seen.clock:>12}" for seen in both))
    for name, of in (("age", "age_ms"), ("round trip", "round_trip_ms")):
        samples = [getattr(seen, of) for seen in both]
        print(f"{name + ', n':<22}" + "".join(f"{len(ms):>12}" for ms in samples))
        for q in SHOWN:
            cells = (f"{np.percentile(ms, q):>12.2f}" for ms in samples)
            print(f"{f'{name}, p{q}, ms':<22}" + "".join(cells))
    print(f"{'success':<22}" + "".join(f"{seen.success:>12.3f}" for seen in both))
    print(f"{'episodes':<22}" + "".join(f"{seen.episodes:>12}" for seen in both))
    print(f"{'ticks missed':<22}" + "".join(f"{seen.missed_share:>12.2%}" for seen in both))


def _free_ports() -> dict[str, int]:
    probes = {name: socket.socket() for name in ("device_edge", "edge_cloud")}
    for probe in probes.values():
        probe.bind(("127.0.0.1", 0))
    ports = {name: probe.getsockname()[1] for name, probe in probes.items()}
    for probe in probes.values():
        probe.close()
    return ports


def measure(seconds: float) -> list[Series]:
    """The wall's figures as ours; as the baseline, what the models say of the same deployment."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        policy = folder / "policy.artefact"
        policy.write_bytes(taught())
        wall, virtual = (
            run(clock, policy, LONGER * seconds, folder / clock) for clock in ("wall", "virtual")
        )
    return [
        Series(AGE, _blocks(wall.age_ms), _blocks(virtual.age_ms)),
        Series(TRIP, _blocks(wall.round_trip_ms), _blocks(virtual.round_trip_ms)),
    ]


def _blocks(samples: Vector) -> tuple[Vector, ...]:
    """The mean of each stretch: an age comes in whole ticks, and its percentiles leap by one."""
    return tuple(np.array([stretch.mean()]) for stretch in np.array_split(samples, BLOCKS))


BENCHMARK = Benchmark(
    "agreement",
    "Do the two clocks agree on the sorting cell over wifi, with a trained policy?",
    "the same deployment on the virtual clock",
    (AGE, TRIP),
    measure,
    long=True,
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", type=Path, help="an artefact; else one is taught first")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each run")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        policy = args.policy or Path(folder) / "policy.artefact"
        if args.policy is None:
            print("teaching a policy", flush=True)
            policy.write_bytes(teach(Scenario(), told=lambda line: print(line, flush=True)))
        seen = {}
        for clock in ("wall", "virtual"):
            print(f"{args.seconds:g} s on the {clock} clock", flush=True)
            seen[clock] = run(clock, policy, args.seconds, Path(folder) / clock)
    machine = host()
    print(f"\nsorting cell over wifi, {machine['cpus']} x {machine['processor']}\n")
    show(seen["wall"], seen["virtual"])
    print()
    verdicts = agreements(seen["wall"], seen["virtual"])
    print(*verdicts, sep="\n")
    return 0 if all(verdict.agrees for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
