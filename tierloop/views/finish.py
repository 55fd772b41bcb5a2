"""Joins the parts of a record into what people and other tools read."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tierloop.contract.errors import UserError
from tierloop.contract.ledger import LEDGER
from tierloop.contract.reading import reading
from tierloop.stack.config import hardware
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.record import disks, reports, reserve
from tierloop.stack.record.books import balance, holdings
from tierloop.stack.record.claim import under_way
from tierloop.stack.record.damage import Damage
from tierloop.stack.record.record import Record
from tierloop.stack.record.summary import shed, summarise
from tierloop.views.report import render

DEPLOYMENT = "deployment.json"
PARTS = "parts"
SUMMARY, PAGE = "summary.json", "report.html"


def load(out: Path) -> tuple[Deployment, Record]:
    """What ran and all that was reported of it. Raises UserError if `out` is no record."""
    deployment = stored(out)
    record = recorded(out)
    if not record.lives:
        what = "none that this version can read" if record.damaged else "no reports"
        raise UserError(f"{out}: no record of a run ({what} in {PARTS}/)")
    return deployment, record


def recorded(out: Path) -> Record:
    """All that the parts hold, and what of them is damaged or was never written.

    Raises UserError for a run that is still going, and for another version's ledger.
    """
    record = Record()
    with reading(out):
        if under_way(out):
            raise UserError(f"{out}: the run is still going; read it when it has ended")
        for found in reports.scan(out / PARTS):
            if isinstance(found, Damage):
                record.damaged.append(found)
                continue
            columns = found.decisions.shape[1]
            if len(found.decisions) and columns != len(LEDGER):
                raise UserError(
                    f"{out}: its ledger has {columns} columns, this version's {len(LEDGER)}; "
                    "read it with the version of tierloop that wrote it"
                )
            record.take(found)
        record.damaged += [
            Damage(PARTS, f"not written: {lack.why}", -1, -1, lack.since_ns, lack.until_ns)
            for lack in reports.lacks_of(record.label(reports.LACKS))
        ]
    return record


def stored(out: Path) -> Deployment:
    """The deployment that ran. Raises UserError if there is none that can be read."""
    path = out / DEPLOYMENT
    if not path.is_file():
        raise UserError(f"{out}: no record of a run (no readable {DEPLOYMENT})")
    with reading(path, "damaged, or written by another version of tierloop"):
        deployment = msgspec.json.decode(path.read_bytes(), type=Deployment)
        for tier in (deployment.device, deployment.edge, deployment.cloud):
            hardware.load(tier.hardware)
        return deployment


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


def audited(record: Record, deployment: Deployment, out: Path) -> dict[str, Any]:
    """The summary of a record whose processes left their state under `out`."""
    acked = {
        (life.process, life.boot): int(life.last.counters.get("segments.acked", 0))
        for life in record.of("device")
    }
    found = disks.audit(out, acked, shed(record.counters("edge")), record.damaged)
    books = balance(record, holdings(out))
    return summarise(record, deployment, found, disks.releases(out), books)


def write(path: Path, data: bytes) -> None:
    """Puts a file in place whole, or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


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
