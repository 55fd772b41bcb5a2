"""Joins the parts of a record into what people and other tools read."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tierloop.stack.config.deployment import Deployment
from tierloop.stack.record import reserve
from tierloop.stack.record.files import write
from tierloop.stack.record.folder import audited, load
from tierloop.stack.record.record import Record
from tierloop.views.ledger_file import LEDGER_FILE, write_ledger
from tierloop.views.report import render

SUMMARY, PAGE = "summary.json", "report.html"


def join(out: Path) -> dict[str, Any]:
    """Writes summary.json, ledger.parquet and report.html of what lies in the parts; the summary.

    Room that a killed run still holds is given back first. Raises UserError if `out` holds no parts
    of a record, or its run is still going.
    """
    deployment, record = load(out)
    reserve.free(out)
    return conclude(out, deployment, record, out)


def conclude(
    out: Path, deployment: Deployment, record: Record, state: Path, unkept: Iterable[str] = ()
) -> dict[str, Any]:
    """As `join`, of a record at hand, whose processes left their state under `state`.

    What the disk does not take is listed as `unkept`; the summary comes first.
    """
    summary = audited(record, deployment, state)
    summary["unkept"] += unkept
    makers: dict[str, Callable[[], None]] = {
        SUMMARY: lambda: write(out / SUMMARY, _packed(summary)),
        LEDGER_FILE: lambda: write_ledger(out),
        PAGE: lambda: write(out / PAGE, render(summary, record, deployment).encode()),
    }
    if not deployment.record.ledger:
        del makers[LEDGER_FILE]
    for name, make in makers.items():
        try:
            make()
        except OSError as error:
            summary["unkept"].append(f"{name}: {error.strerror or error}")
    if summary["unkept"]:
        with suppress(OSError):
            makers[SUMMARY]()
    return summary


def _packed(summary: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(summary), indent=2)
