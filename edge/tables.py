"""The tables of the outbox's database, and single-row operations on them."""

import sqlite3
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import msgspec

from tierloop.contract.errors import UserError
from tierloop.edge.spans import Spans

VERSION = 1
"""Of the tables, kept in the file as `user_version`; 0 is of before that, and the same."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS parcels (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL,
    digest INTEGER NOT NULL, priority INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL,
    UNIQUE (device, boot, seq)
) STRICT;
CREATE INDEX IF NOT EXISTS parcels_by_worth ON parcels (priority, id);
CREATE TABLE IF NOT EXISTS marks (
    device TEXT NOT NULL, boot INTEGER NOT NULL, runs BLOB NOT NULL,
    PRIMARY KEY (device, boot)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shed (priority INTEGER PRIMARY KEY, parcels INTEGER NOT NULL) STRICT;
"""


def check(path: Path) -> None:
    """Raises UserError if a later version wrote the file; ignores a file that cannot be read."""
    if path.exists():
        with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=0)) as db:
            _check_version(db, path)


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise UserError(
            f"{path}: the outbox has version {version}, but this tierloop reads version {VERSION}; "
            "use the tierloop that wrote it, or choose another --out"
        )


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Settings and tables. Raises sqlite3.Error, also if durability is not granted.

    Raises UserError for the file of a later version.
    """
    _check_version(db, path)
    wanted = {"locking_mode": "exclusive", "journal_mode": "wal", "synchronous": 2}
    for pragma, value in wanted.items():
        db.execute(f"PRAGMA {pragma}={value}")
        (given,) = db.execute(f"PRAGMA {pragma}").fetchone()
        if given != value:
            raise sqlite3.OperationalError(f"{pragma} is {given}, {value} was asked for")
    db.executescript(f"{SCHEMA}PRAGMA user_version={VERSION};")


def damaged(error: Exception) -> bool:
    """Whether an error means that the file is damaged."""
    if isinstance(error, msgspec.MsgspecError):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


ASIDE_SUFFIX = ".damaged-"
"""Stands, with a number, behind the name of a database that was found damaged and kept."""


def set_aside(path: Path) -> Path:
    """Renames a database and its log to the first free NAME.damaged-N. Returns the new path."""
    taken = (path.with_name(f"{path.name}{ASIDE_SUFFIX}{n}") for n in count(1))
    kept = next(place for place in taken if not place.exists())
    for suffix in ("-shm", "-wal", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(kept.with_name(kept.name + suffix))
    return kept


def marks(db: sqlite3.Connection) -> dict[tuple[str, int], Spans]:
    decoder = msgspec.msgpack.Decoder(list[tuple[int, int]])
    rows = db.execute("SELECT device, boot, runs FROM marks").fetchall()
    return {(device, boot): Spans(decoder.decode(runs)) for device, boot, runs in rows}


def note_shed(db: sqlite3.Connection, priority: int) -> None:
    """Counts a dropped parcel on disk, so that the count survives a crash."""
    db.execute(
        "INSERT INTO shed VALUES (?, 1) ON CONFLICT DO UPDATE SET parcels = parcels + 1",
        (priority,),
    )


def forget(db: sqlite3.Connection, device: str, surplus: int) -> list[tuple[str, int]]:
    """Deletes the marks of a device's `surplus` oldest boots of which no parcel waits."""
    return db.execute(
        "DELETE FROM marks WHERE (device, boot) IN (SELECT device, boot FROM marks m WHERE "
        "device = ? AND "
        "NOT EXISTS (SELECT 1 FROM parcels p WHERE p.device = m.device AND p.boot = m.boot) "
        "ORDER BY boot LIMIT ?) RETURNING device, boot",
        (device, surplus),
    ).fetchall()
