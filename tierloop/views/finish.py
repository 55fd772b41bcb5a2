"""Joins the parts of a record into what people and other tools read."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

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
    """Columns are made of their buffers: `pyarrow.array` would look for pandas, and load it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def column(
        kind: pa.DataType, count: int, *buffers: bytes | NDArray[np.integer[Any]]
    ) -> pa.Array:
        return pa.Array.from_buffers(kind, count, [None, *map(pa.py_buffer, buffers)])

    pieces = [(life, len(rows)) for life, rows in record.ledgers() if len(rows)]
    which = np.repeat(np.arange(len(pieces)), [count for _, count in pieces])
    boots = np.array([life.boot for life, _ in pieces], np.int64)[which]
    names = [life.process.encode() for life, _ in pieces]
    ends = np.cumsum([0, *map(len, names)], dtype=np.int32)
    devices = column(pa.string(), len(names), ends, b"".join(names))
    numbers = [boots, *np.ascontiguousarray(record.decisions().T)]
    fields = [
        pa.field("device", pa.string(), metadata={"doc": "name of the robot"}),
        pa.field("boot", pa.int64(), metadata={"doc": "start of the device's process"}),
        *(pa.field(c.name, pa.int64(), metadata={"doc": c.doc}) for c in LEDGER),
    ]
    columns = [column(pa.int64(), len(which), figures) for figures in (which, *numbers)]
    columns[0] = devices.take(columns[0])
    table = pa.Table.from_arrays(columns, schema=pa.schema(fields))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())
