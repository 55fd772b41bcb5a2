"""What every benchmark shares: the machine's stamp, percentiles, blocks in turn, the table."""

import json
import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tierloop import __version__

Samples = NDArray[np.float64]
PERCENTILES = (50.0, 90.0, 99.0)


def machine() -> dict[str, Any]:
    """Where and when figures were measured."""
    return {
        "tierloop": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def in_turn(
    blocks: int, *measures: Callable[[], Sequence[float]]
) -> tuple[tuple[Samples, ...], ...]:
    """Runs each measure once a block, in alternating order, so that drift hits all alike.

    Returns for each measure its samples, one array a block.
    """
    results: list[list[Samples]] = [[] for _ in measures]
    for block in range(blocks):
        order = range(len(measures)) if block % 2 == 0 else reversed(range(len(measures)))
        for i in order:
            results[i].append(np.asarray(measures[i](), np.float64))
    return tuple(tuple(r) for r in results)


def percentiles(samples: Samples) -> dict[str, float]:
    """n, p50, p90, p99 and max."""
    named = {f"p{p:g}": float(np.percentile(samples, p)) for p in PERCENTILES}
    return {"n": len(samples), **named, "max": float(samples.max())}


def ratio(ours: Sequence[Samples], bare: Sequence[Samples], q: float) -> dict[str, float]:
    """The ratio of a percentile, over all samples and as the spread over the blocks."""
    whole = np.percentile(np.concatenate(ours), q) / np.percentile(np.concatenate(bare), q)
    each = [np.percentile(o, q) / np.percentile(b, q) for o, b in zip(ours, bare, strict=True)]
    return {"ratio": float(whole), "low": float(min(each)), "high": float(max(each))}


def verdict(name: str, ours: Sequence[Samples], bare: Sequence[Samples], q: float) -> str:
    """One line: a percentile against the bare limit's, with the spread over the blocks."""
    r = ratio(ours, bare, q)
    return (
        f"{name} p{q:g} is {r['ratio']:.2f}x the bare limit's "
        f"(blocks {r['low']:.2f} to {r['high']:.2f})"
    )


def show(title: str, rows: dict[str, dict[str, float]], unit: str, notes: Sequence[str]) -> None:
    """Prints the table, the notes, and the same as one line of JSON."""
    stamp = machine()
    print(f"{title}\n{stamp['processor']}, {stamp['cores']} cores, Python {stamp['python']}")
    keys = list(next(iter(rows.values())))
    width = max(map(len, rows))
    print(" " * width, *(f"{key:>10}" for key in keys), f"   [{unit}]")
    for name, row in rows.items():
        cells = (f"{row[key]:>10.0f}" if key == "n" else f"{row[key]:>10.2f}" for key in keys)
        print(f"{name:<{width}}", *cells)
    for note in notes:
        print(note)
    print(json.dumps({"title": title, "unit": unit, "rows": rows, "machine": stamp}))
