"""Joins the parts of a record into what people and other tools read."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from contract.errors import UserError
from contract.ledger import LEDGER
from contract.messages import Report
from tierloop import audit, parts
from tierloop.deployment import Deployment
from tierloop.record import Record
from tierloop.report import render
from tierloop.summary import shed, summarise

DEPLOYMENT = "deployment.json"
PARTS = "parts"


def load(out: Path) -> tuple[Deployment, Record]:
    """What ran and all that was reported of it. Raises UserError if `out` is no record."""
    try:
        deployment = msgspec.json.decode((out / DEPLOYMENT).read_bytes(), type=Deployment)
    except OSError:
        raise UserError(f"{out}: no record of a run (no readable {DEPLOYMENT})") from None
    except msgspec.MsgspecError as error:
        raise UserError(
            f"{out / DEPLOYMENT}: {error}; damaged, or written by another version of tierloop"
        ) from None
    record = Record()
    for report in _parts(out):
        columns = report.decisions.shape[1]
        if len(report.decisions) and columns != len(LEDGER):
            raise UserError(
                f"{out}: its ledger has {columns} columns, this version's {len(LEDGER)}; "
                "read it with the version of tierloop that wrote it"
            )
        record.take(report)
    if not record.lives:
        files = [path for path in (out / PARTS).glob(f"*{parts.SUFFIX}") if path.stat().st_size]
        what = "none that this version can read" if files else "no reports"
        raise UserError(f"{out}: no record of a run ({what} in {PARTS}/)")
    return deployment, record


def _parts(out: Path) -> Iterator[Report]:
    try:
        yield from parts.read(out / PARTS)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from None


def join(out: Path) -> dict[str, Any]:
    """Writes summary.json, ledger.parquet and report.html; returns the summary.

    Raises UserError if `out` holds no parts of a record.
    """
    deployment, record = load(out)
    summary = audited(record, deployment, out)
    try:
        write(out / "summary.json", msgspec.json.format(msgspec.json.encode(summary), indent=2))
        _write_ledger(out / "ledger.parquet", record)
        write(out / "report.html", render(summary, record, deployment).encode())
    except OSError as error:
        raise UserError(f"{error.filename or out}: {error.strerror}") from None
    return summary


def audited(record: Record, deployment: Deployment, out: Path) -> dict[str, Any]:
    """The summary of a record whose processes left their state under `out`."""
    acked = {
        (life.process, life.boot): int(life.last.counters.get("segments.acked", 0))
        for life in record.of("device")
    }
    found = audit.audit(out, acked, shed(record.counters("edge")))
    return summarise(record, deployment, found, audit.releases(out))


def write(path: Path, data: bytes) -> None:
    """Puts a file in place whole, or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _write_ledger(path: Path, record: Record) -> None:
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
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(table, draft, compression="zstd")
    os.replace(draft, path)
