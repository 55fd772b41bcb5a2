"""Opens a SQLite file in which each commit is durable, and checks its version."""

import sqlite3
from pathlib import Path

from tierloop.contract.errors import UserError

VERSION = 1
"""Of the tables, kept in the file as `user_version`."""


def connect(path: Path, schema: str) -> sqlite3.Connection:
    """Opens or makes the file. Raises OSError, sqlite3.Error, UserError for a later version's.

    Raises RuntimeError if SQLite does not grant durability.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        _check_version(db, path)
        for pragma, granted in (("journal_mode=WAL", "wal"), ("synchronous=FULL", 2)):
            db.execute(f"PRAGMA {pragma}")
            value = db.execute(f"PRAGMA {pragma.split('=')[0]}").fetchone()[0]
            if value != granted:
                raise RuntimeError(f"{path}: asked for {pragma}, SQLite gave {value!r}")
        db.execute("PRAGMA foreign_keys=ON")
        db.executescript(f"{schema}PRAGMA user_version={VERSION};")
    except BaseException:
        db.close()
        raise
    return db


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    """Version 0 is a new file, or one of before versions were kept, which is as version 1."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise UserError(
            f"{path}: the store has version {version}, but this tierloop reads version {VERSION}; "
            "use the tierloop that wrote it, or choose another --out"
        )


class Transaction:
    """All or nothing, taken at once; a failed commit is rolled back, never retried as if clean."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self._db.execute("COMMIT")
                return
            except sqlite3.Error:
                self._abort()
                raise
        self._abort()

    def _abort(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
