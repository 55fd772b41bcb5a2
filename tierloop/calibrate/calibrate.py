"""Calibrate: times this machine's jobs and writes a hardware profile of it."""

import tempfile
import time
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tierloop.calibrate.jobs import TimedJob, probes, untrained
from tierloop.contract.errors import UserError
from tierloop.contract.version import __version__
from tierloop.policy.artefact import Artefact
from tierloop.stack.config import hardware
from tierloop.stack.config.hardware import DurationCurve, Jobs, Power, Profile
from tierloop.stack.config.initial_policy import read
from tierloop.stack.machine import processors
from tierloop.stack.record.files import write
from tierloop.stack.record.summary import processor

BLOCKS = 6
"""Every probe is timed once a block, so that a slow moment of the machine hits all alike; the
first block only warms up."""
P90 = 1.2816
"""Standard deviations from the median of a normal distribution to its 90th percentile."""
FACTOR_MIN = 1.05
STAND_IN = "edge-server"
"""Gives what cannot be measured here."""


class Timing(NamedTuple):
    """One probe's samples in microseconds a call, one array a block."""

    probe: TimedJob
    blocks_us: tuple[np.ndarray, ...]

    @property
    def median_us(self) -> float:
        return float(np.median(np.concatenate(self.blocks_us)))

    @property
    def jitter(self) -> float:
        """Of the log-normal with this median and 90th percentile."""
        samples = np.concatenate(self.blocks_us)
        return max(0.0, log(np.percentile(samples, 90) / np.median(samples))) / P90

    @property
    def factor(self) -> float:
        """How far apart the blocks' medians lie."""
        medians = [float(np.median(block)) for block in self.blocks_us]
        return max(FACTOR_MIN, max(medians) / min(medians))


def calibrate(policy: Path | None, out: Path) -> None:
    """Measures, prints a table and writes `out`. Raises UserError before it measures."""
    if out.suffix != hardware.SUFFIX:
        raise UserError(f"{out}: the name of a profile must end in {hardware.SUFFIX}")
    if out.exists():
        raise UserError(f"{out}: already exists; choose another --out")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder")
    artefact = read(policy) if policy else untrained()
    console = Console()
    with _folder(out) as folder:
        console.print("Preparing: inference, commits, control ticks, training, evaluation ...")
        timings = measure(list(probes(artefact, Path(folder))), console)
    console.print(_table(timings))
    profile = summarise(timings, artefact)
    write(out, toml(profile).encode())
    console.print(
        f"\nPower values: {profile.busy_w.source}.\nProfile: {out}  "
        f"(to use it in a deployment in the same folder: hardware = \"{out.name}\")",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


def _folder(out: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix=".calibrate-", dir=out.parent)
    except OSError as error:
        raise UserError(f"{out.parent}: {error.strerror}; choose another --out") from None


def measure(todo: Sequence[TimedJob], console: Console) -> list[Timing]:
    """Times the probes in blocks, in alternating order."""
    found: list[list[np.ndarray]] = [[] for _ in todo]
    for block in track(range(BLOCKS), "Measuring", console=console, transient=True):
        order = range(len(todo)) if block % 2 == 0 else reversed(range(len(todo)))
        for i in order:
            found[i].append(_block(todo[i]))
    return [Timing(p, tuple(blocks[1:])) for p, blocks in zip(todo, found, strict=True)]


def _block(probe: TimedJob) -> np.ndarray:
    samples = np.empty(probe.calls)
    for i in range(probe.calls):
        begun_ns = time.perf_counter_ns()
        probe.run()
        samples[i] = (time.perf_counter_ns() - begun_ns) / 1e3
    return samples


def summarise(timings: Sequence[Timing], artefact: Artefact) -> Profile:
    """The profile; a job that was not timed is the stand-in's, scaled by the inference."""
    about = f"{processor()}, {processors()} processors"
    found = {job: [t for t in timings if t.probe.job == job] for job in Jobs.__struct_fields__}
    engine = found["infer"][0].probe.engine
    found["infer"] = [t for t in found["infer"] if t.probe.engine == engine]
    stand_in = hardware.load(STAND_IN)
    ratio = found["infer"][0].median_us / stand_in.jobs.infer.us[0]
    said = f"tierloop calibrate {__version__}, policy v{artefact.manifest.version} on {engine}"
    curves = {
        job: _curve(lines, said) if lines else _scaled(getattr(stand_in.jobs, job), ratio)
        for job, lines in found.items()
    }
    return Profile(
        about=about, idle_w=_assumed(stand_in.idle_w), busy_w=_assumed(stand_in.busy_w),
        jobs=Jobs(**curves),
    )  # fmt: skip


def _curve(lines: Sequence[Timing], source: str) -> DurationCurve:
    """Timings of one job by rows; a median below that of fewer rows is noise, and lifted to it."""
    rising = np.maximum.accumulate([t.median_us for t in lines])
    return DurationCurve(
        rows=tuple(t.probe.rows for t in lines), us=tuple(round(float(u), 3) for u in rising),
        jitter=round(float(np.median([t.jitter for t in lines])), 4),
        factor=round(max(t.factor for t in lines), 3), kind="measured", source=source,
    )  # fmt: skip


def _scaled(curve: DurationCurve, ratio: float) -> DurationCurve:
    return msgspec.structs.replace(
        curve,
        us=tuple(round(u * ratio, 3) for u in curve.us),
        kind="estimated",
        source=f"{STAND_IN}, multiplied by {ratio:.3g}, the ratio of the inference times",
    )


def _assumed(figure: Power) -> Power:
    source = (
        f"copied from {STAND_IN}, because no power meter was read; replace it with a measurement"
    )
    return msgspec.structs.replace(figure, kind="estimated", source=source)


def toml(profile: Profile) -> str:
    """The profile as the file that hardware.load reads."""
    lines = ["# Written by tierloop calibrate; docs/hardware.md says what each line means."]
    lines.append(f"about = {_text(profile.about)}")
    for name in ("idle_w", "busy_w"):
        fields = msgspec.structs.asdict(getattr(profile, name))
        lines.append(f"{name} = {{ {', '.join(f'{k} = {_text(v)}' for k, v in fields.items())} }}")
    for job in Jobs.__struct_fields__:
        lines += ["", f"[jobs.{job}]"]
        fields = msgspec.structs.asdict(getattr(profile.jobs, job))
        lines += [f"{key} = {_text(value)}" for key, value in fields.items()]
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    """A TOML value: JSON's strings, numbers and lists are TOML's."""
    return msgspec.json.encode(value).decode()


def _table(timings: Sequence[Timing]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("job", "engine", "rows"):
        table.add_column(name)
    for name in ("p50 us", "p90 us", "p99 us", "jitter", "n"):
        table.add_column(name, justify="right")
    for timing in timings:
        samples = np.concatenate(timing.blocks_us)
        figures = [f"{np.percentile(samples, q):.1f}" for q in (50, 90, 99)]
        probe = timing.probe
        table.add_row(
            probe.job, probe.engine, str(probe.rows), *figures,
            f"{timing.jitter:.2f}", str(len(samples)),
        )  # fmt: skip
    return table
