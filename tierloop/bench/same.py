"""`tierloop same BASE HEAD`: does the head do the same as the base, to the byte?

Each side runs the cases with its own code, in a process and a folder of its own, on the virtual
clock, where nothing depends on the machine's load. What is compared is the digest of every message,
decision and applied action, and every key of the summary but those of LEFT_OUT.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tierloop.bench.checkout import Side
from tierloop.link.presets import PRESETS
from tierloop.views.finish import SUMMARY

_FUZZ = Path(__file__).resolve().parent / "same_fuzz.py"

_LEARNING = (
    "learner.rounds_max=2",
    "learner.twin_episodes=2",
    "learner.gate_episodes=4",
    "learner.gate_p=0.6",
)
"""Two short rounds, after which a candidate is released, so that a change of policy is compared."""

_PLANT = (
    "scenario.task=reach",
    "scenario.body=plant",
    "scenario.episode_s=4",
    "learner.min_lived=100",
    "learner.twin_episodes=1",
    "learner.gate_episodes=2",
)
"""The plant reaches or fails soon, so that it learns soon too."""


def _run(seconds: int, seed: int, *settings: str, faults: str = "") -> tuple[str, ...]:
    command = (
        "-m", "tierloop", "run", "{checkout}/deployments/sorting-cell.toml", "--clock", "virtual",
        "--for", f"{seconds}", "--seed", f"{seed}", "--out", "{out}",
    )  # fmt: skip
    sets = (word for setting in (*_LEARNING, *settings) for word in ("--set", setting))
    return (*command, *sets, *(("--faults", "{checkout}/" + faults) if faults else ()))


def _plant(preset: str) -> tuple[str, ...]:
    links = (f"links.{link}.preset={preset}" for link in ("device", "cloud"))
    return _run(20, 1, *_PLANT, *links)


CASES: Mapping[str, tuple[str, ...]] = {
    **{f"cell-{seed}": _run(20, seed) for seed in (1, 2, 3)},
    **{f"plant-{preset}": _plant(preset) for preset in PRESETS},
    "bad-day": _run(60, 1, faults="deployments/faults/bad-day.toml"),
    **{f"fuzz-{seed}": (str(_FUZZ), "{out}", str(seed)) for seed in range(20)},
}
"""What Python is told to run on either side. Each leaves a summary in `{out}`."""

LEFT_OUT = {
    "host": "describes the machine and its libraries",
    "cpu_s": "is how long this machine took",
}
"""Keys of a summary, at any depth, that are not compared, and why."""

CASE_S = 900.0
"""A case that takes longer is ended and counts as one that does not run."""


class Difference(NamedTuple):
    """A key of the summary, as in `energy_j.device.radio`, and both values as JSON."""

    key: str
    base: str
    head: str


class CaseResult(NamedTuple):
    """What came of one case: the differences, the head's digest, and the time that it took."""

    differences: list[Difference]
    trace: str
    seconds: float


class NoSummaryError(Exception):
    """A side leaves no summary of a case, and why."""


def run(base: Side, head: Side, command: tuple[str, ...]) -> CaseResult:
    """Runs one case on both sides at once. Raises NoSummaryError if a side leaves no summary."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tierloop-same-") as folder, ExitStack() as stack:
        outs = [Path(folder) / name for name in ("base", "head")]
        sides = list(zip((base, head), outs, strict=True))
        processes = [stack.enter_context(_started(side, command, out)) for side, out in sides]
        one, other = (
            _summary(side, process, out)
            for (side, out), process in zip(sides, processes, strict=True)
        )
    return CaseResult(differences(one, other), other["trace_sha256"], time.monotonic() - began_s)


def differences(base: Mapping[str, Any], head: Mapping[str, Any]) -> list[Difference]:
    """The keys whose values differ, in the base's order; a key that one side lacks is one too."""
    one, other = dict(_leaves(base)), dict(_leaves(head))
    return [
        Difference(key, one.get(key, "absent"), other.get(key, "absent"))
        for key in {**one, **other}
        if one.get(key) != other.get(key)
    ]


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict | list) or not value:
        yield key, msgspec.json.encode(value).decode()
        return
    if isinstance(value, list):
        value = {str(number): inner for number, inner in enumerate(value)}
    for name, inner in value.items():
        if name not in LEFT_OUT:
            yield from _leaves(inner, f"{key}.{name}" if key else name)


@contextmanager
def _started(side: Side, command: tuple[str, ...], out: Path) -> Iterator[subprocess.Popen[bytes]]:
    out.mkdir()
    words = [word.replace("{checkout}", str(side.folder)).replace("{out}", str(out / "record"))
             for word in command]  # fmt: skip
    with (out / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-P", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, cwd=out,
            env=side.environment,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _summary(side: Side, process: subprocess.Popen[bytes], out: Path) -> dict[str, Any]:
    try:
        code = process.wait(CASE_S)
    except subprocess.TimeoutExpired:
        raise NoSummaryError(f"{side.name}: does not end in {CASE_S:g} s") from None
    try:
        summary = msgspec.json.decode((out / "record" / SUMMARY).read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        said = (out / "said").read_text(errors="replace").splitlines() or ["without a message"]
        raise NoSummaryError(f"{side.name}: exit {code}: {said[-1]}") from None
    return {**summary, "exit_code": code}
