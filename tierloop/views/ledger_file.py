"""Writes ledger.parquet: the rows that lie in a record's parts, a row group at a time."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tierloop.contract.ledger import LEDGER
from tierloop.stack.record.folder import told
from tierloop.stack.record.histogram import IntVector
from tierloop.stack.record.tally import LedgerRows

LEDGER_FILE = "ledger.parquet"
GROUP_ROWS = 1 << 13
"""Rows of a row group, which is held in memory: some 2.5 MB, three times over."""


def write_ledger(out: Path) -> None:
    """Writes the ledger of a record, whole or not at all. Raises OSError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            pa.field("device", pa.string(), metadata={"doc": "name of the robot"}),
            pa.field("boot", pa.int64(), metadata={"doc": "start of the device's process"}),
            *(pa.field(c.name, pa.int64(), metadata={"doc": c.doc}) for c in LEDGER),
        ]
    )
    draft = out / f".{LEDGER_FILE}.{os.getpid()}"
    try:
        with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
            for group in _groups(out):
                arrays = [
                    _array(pa, field.type, column)
                    for field, column in zip(schema, _columns(group), strict=True)
                ]
                writer.write_batch(pa.record_batch(arrays, schema=schema))
        os.replace(draft, out / LEDGER_FILE)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


class _Rows(NamedTuple):
    """The rows of one report: its process, the boot, int64[R, C]."""

    device: str
    boot: int
    decisions: LedgerRows


def _columns(group: list[_Rows]) -> Iterator[IntVector | list[bytes]]:
    """Device, boot and the ledger's columns, of all rows of a group."""
    counts = [len(rows.decisions) for rows in group]
    yield [name for rows in group for name in [rows.device.encode()] * len(rows.decisions)]
    yield np.repeat(np.array([rows.boot for rows in group], np.int64), counts)
    yield from np.ascontiguousarray(np.concatenate([rows.decisions for rows in group]).T)


def _array(pa: Any, kind: Any, column: IntVector | list[bytes]) -> Any:
    """Made of its buffers: `pyarrow.array` would look for pandas, and load it."""
    buffers: list[Any] = [column]
    if isinstance(column, list):
        buffers = [np.cumsum([0, *map(len, column)], dtype=np.int32), b"".join(column)]
    return pa.Array.from_buffers(kind, len(column), [None, *map(pa.py_buffer, buffers)])


def _groups(out: Path) -> Iterator[list[_Rows]]:
    """The rows of all reports, process by process, in groups of about GROUP_ROWS rows."""
    group: list[_Rows] = []
    size = 0
    for report in told(out):
        if rows := len(report.decisions):
            group.append(_Rows(report.process, report.boot, report.decisions.copy()))
            size += rows
        if size >= GROUP_ROWS:
            yield group
            group, size = [], 0
    if group:
        yield group
