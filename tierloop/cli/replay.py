"""The command `replay`: from a record's folder to what is told or drawn of it."""

import os
import sys
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from tierloop.contract.clock import NS_PER_S
from tierloop.contract.errors import UserError
from tierloop.contract.reading import Unreadable, reading
from tierloop.stack.record.damage import line
from tierloop.stack.record.disks import journeys
from tierloop.stack.record.folder import load_whole
from tierloop.stack.record.whole import WholeRecord
from tierloop.views.moments import moments, within
from tierloop.views.perfetto import write
from tierloop.views.remarks import verdict
from tierloop.views.stepper import show


def tell(
    out: Path, device: str | None, from_s: float, to_s: float | None, only: str | None
) -> None:
    """Steps through or prints a record's moments. Raises UserError if it is none."""
    with Console(stderr=True).status(f"Reading {out}"):
        _, record = load_whole(out)
    names = sorted({life.process for life in record.of("device")})
    if device is not None and device not in names:
        raise UserError(
            f"--device {device}: not a robot of {out}; choose one of: {', '.join(names) or 'none'}"
        )
    if not all(isfinite(at_s) for at_s in (from_s, to_s or 0.0)):
        raise UserError("--from and --to must be finite numbers of seconds")
    if to_s is not None and to_s <= from_s:
        raise UserError(f"--to {to_s:g} must be greater than --from {from_s:g}")
    origin_ns = _origin_ns(record)
    start_ns = origin_ns + round(from_s * NS_PER_S)
    end_ns = sys.maxsize if to_s is None else origin_ns + round(to_s * NS_PER_S)
    if from_s == 0.0:
        start_ns = -sys.maxsize
    found = within(moments(record, device, only), start_ns, end_ns)
    lost = [line(damage.told(*record.span_ns())) for damage in record.damaged]
    show(found, origin_ns, [*lost, _violations(out)])


def write_trace(out: Path, path: Path) -> None:
    """Writes a record as a Chrome trace, whole or not at all."""
    if not path.parent.is_dir():
        raise UserError(f"--trace {path}: no such folder")
    draft = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        with Console(stderr=True).status(f"Writing {path}"):
            _, record = load_whole(out)
            lost = [line(damage.told(*record.span_ns())) for damage in record.damaged]
            count = write(draft, record, journeys(out), _origin_ns(record))
        os.replace(draft, path)
    except OSError as error:
        raise UserError(f"--trace {path}: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    for words in lost:
        print(f"tierloop: {words}", file=sys.stderr)
    print(f"{path}: {count} events  (open it at https://ui.perfetto.dev)", file=sys.stderr)


def _origin_ns(record: WholeRecord) -> int:
    """When the run began; where no supervisor said so, the first that is known."""
    if record.of("roof"):
        return record.span_ns()[0]
    return min((moment.at_ns for moment in moments(record)), default=0)


def _violations(out: Path) -> str:
    path = out / "summary.json"
    try:
        with reading(path):
            summary: dict[str, Any] = msgspec.json.decode(path.read_bytes())
            return f"invariants: {verdict(summary)}"
    except Unreadable:
        return f"invariants: not known; run 'tierloop report {out}' first"
