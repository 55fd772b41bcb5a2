"""Joins the parts of a record into what people and other tools read."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tierloop.contract.ledger import LEDGER
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.record import reserve
from tierloop.stack.record.files import write
from tierloop.stack.record.folder import audited, load
from tierloop.stack.record.record import Record
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
    made: dict[str, Callable[[], bytes]] = {
        SUMMARY: lambda: msgspec.json.format(msgspec.json.encode(summary), indent=2),
        "ledger.parquet": lambda: _ledger(record),
        PAGE: lambda: render(summary, record, deployment).encode(),
    }
    for name, make in made.items():
        try:
            write(out / name, make())
        except OSError as error:
            summary["unkept"].append(f"{name}: {error.strerror or error}")
    if summary["unkept"]:
        with suppress(OSError):
            write(out / SUMMARY, made[SUMMARY]())
    return summary


def _ledger(record: Record) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pieces = [(life, rows) for life, rows in record.ledgers() if len(rows)]
    counts = [len(rows) for _, rows in pieces]
    columns = [np.repeat([life.process for life, _ in pieces], counts).astype(str)]
    columns += [np.repeat(np.array([life.boot for life, _ in pieces], np.int64), counts)]
    columns += list(record.decisions().T)
    fields = [
        pa.field("device", pa.string(), metadata={"doc": "name of the robot"}),
        pa.field("boot", pa.int64(), metadata={"doc": "start of the device's process"}),
        *(pa.field(c.name, pa.int64(), metadata={"doc": c.doc}) for c in LEDGER),
    ]
    table = pa.table([pa.array(column) for column in columns], schema=pa.schema(fields))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())
