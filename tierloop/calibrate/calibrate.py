"""Calibrate: times this machine's jobs and writes a hardware profile of it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from tierloop.calibrate import roofline
from tierloop.calibrate.disturbance import HostWatch
from tierloop.calibrate.jobs import probes
from tierloop.calibrate.networks import HELD_OUT, name_of, untrained
from tierloop.calibrate.roofline import FitPoint
from tierloop.calibrate.timing import Timing, measure
from tierloop.contract.errors import UserError
from tierloop.contract.version import __version__
from tierloop.policy.artefact import Artefact
from tierloop.stack.config import hardware
from tierloop.stack.config.hardware import DurationCurve, InferenceCurve, Jobs, Power, Profile
from tierloop.stack.config.initial_policy import read
from tierloop.stack.config.roofline import Roofline
from tierloop.stack.machine import processors
from tierloop.stack.record.files import write
from tierloop.stack.record.summary import processor

STAND_IN = "edge-server"
"""Gives what cannot be measured here."""
LOOK_FIRST = 300
"""Turns of the watch's loop before anything is prepared, a third of a second."""
FACTOR_MAX = 2.0
"""How far apart the blocks of a job may lie; commits wait for a disk, whose pace varies more."""


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
    watch = HostWatch()
    watch.begin_block()
    watch.look(LOOK_FIRST)
    _refuse(watch.verdict())
    with _folder(out) as folder:
        console.print("Preparing: inference, commits, control ticks, training, evaluation ...")
        timings = measure(list(probes(artefact, Path(folder))), console, watch)
    console.print(_table(timings))
    _refuse(watch.verdict() or unsteady(timings))
    profile = summarise(timings, artefact)
    console.print(f"\n{_told(profile.jobs.infer.roofline)}", highlight=False, soft_wrap=True)
    write(out, toml(profile).encode())
    console.print(
        f"\nPower values: {profile.busy_w.source}.\nProfile: {out}  "
        f"(to use it in a deployment in the same folder: hardware = \"{out.name}\")",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


def _refuse(disturbed: str) -> None:
    if disturbed:
        raise UserError(
            f"this machine was disturbed: {disturbed}; nothing was written: stop other work, or "
            "wait until it is done, and calibrate again"
        )


def unsteady(timings: Sequence[Timing]) -> str:
    """The job whose blocks lie too far apart, in words, or ""."""
    steady = [timing for timing in timings if timing.probe.job != "commit"]
    worst = max(steady, key=lambda timing: timing.factor)
    if worst.factor <= FACTOR_MAX:
        return ""
    return f"{worst.probe.job} took {worst.factor:.2g} times as long at one time as at another"


def _told(line: Roofline | None) -> str:
    """What the figures of other networks rest on."""
    if line is None:
        return (
            "Other networks: not fitted, because their graphs cannot be written here: "
            "pip install tierloop[cloud]. Every policy is charged as the one that was measured."
        )
    return (
        f"Other networks: fitted on {', '.join(line.networks)}; median error "
        f"{line.error_median:.0%}, worst {line.error_worst:.0%}, worst of {line.held_out} "
        f"(not fitted on) {line.error_held_out:.0%}."
    )


def _folder(out: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix=".calibrate-", dir=out.parent)
    except OSError as error:
        raise UserError(f"{out.parent}: {error.strerror}; choose another --out") from None


def summarise(timings: Sequence[Timing], artefact: Artefact) -> Profile:
    """The profile; a job that was not timed is the stand-in's, scaled by the inference."""
    about = f"{processor()}, {processors()} processors"
    found = {job: [t for t in timings if t.probe.job == job] for job in Jobs.__struct_fields__}
    own = found["infer"][0].probe
    same_engine = [t for t in found["infer"] if t.probe.engine == own.engine]
    found["infer"] = [t for t in same_engine if t.probe.network == own.network]
    stand_in = hardware.load(STAND_IN)
    ratio = found["infer"][0].median_us / stand_in.jobs.infer.us[0]
    said = f"tierloop calibrate {__version__}, policy v{artefact.manifest.version} on {own.engine}"
    curves: dict[str, Any] = {
        job: _curve(lines, said) if lines else _scaled(getattr(stand_in.jobs, job), ratio)
        for job, lines in found.items()
    }
    curves["infer"] = InferenceCurve(
        **msgspec.structs.asdict(curves["infer"]), roofline=_roofline(same_engine, about)
    )
    return Profile(
        about=about, idle_w=_assumed(stand_in.idle_w), busy_w=_assumed(stand_in.busy_w),
        jobs=Jobs(**curves),
    )  # fmt: skip


def _roofline(lines: Sequence[Timing], host: str) -> Roofline | None:
    """Of the networks that were timed, the policy's own first; None if that is the only one."""
    points = [
        FitPoint(t.probe.network, t.probe.work, t.probe.rows, t.median_us)
        for t in lines
        if t.probe.work is not None
    ]
    if len({point.network for point in points}) == 1 or not points:
        return None
    return roofline.fit(points, points[0].work, name_of(HELD_OUT), lines[0].probe.engine, host)


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
        lines += _lines(f"jobs.{job}", getattr(profile.jobs, job))
    return "\n".join(lines) + "\n"


def _lines(name: str, table: msgspec.Struct) -> list[str]:
    """A table; what it holds that is a table itself comes after it."""
    fields = msgspec.structs.asdict(table)
    below = {key: value for key, value in fields.items() if isinstance(value, msgspec.Struct)}
    lines = ["", f"[{name}]"]
    for key, value in fields.items():
        if key not in below and value is not None:
            lines.append(f"{key} = {_text(value)}")
    for key, value in below.items():
        lines += _lines(f"{name}.{key}", value)
    return lines


def _text(value: object) -> str:
    """A TOML value: JSON's strings, numbers and lists are TOML's."""
    return msgspec.json.encode(value).decode()


def _table(timings: Sequence[Timing]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("job", "network", "engine", "rows"):
        table.add_column(name)
    for name in ("p50 us", "p90 us", "p99 us", "jitter", "n"):
        table.add_column(name, justify="right")
    for timing in timings:
        samples = np.concatenate(timing.blocks_us)
        figures = [f"{np.percentile(samples, q):.1f}" for q in (50, 90, 99)]
        probe = timing.probe
        table.add_row(
            probe.job, probe.network, probe.engine, str(probe.rows), *figures,
            f"{timing.jitter:.2f}", str(len(samples)),
        )  # fmt: skip
    return table
