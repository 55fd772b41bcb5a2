"""Reads the tiers' databases as they lie on the disk, and changes no row there.

SQLite may make its index of the log (`-shm`) beside a store that a killed process left open.
"""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tierloop.cloud.scratch import in_memory
from tierloop.contract.errors import UserError
from tierloop.contract.reading import reading

LOCK_WAIT_S = 1.0


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows that the query finds; none where there is no store, or no table in it yet.

    Raises UserError if a running tier holds the store, Unreadable.
    """
    if not path.exists():
        return []
    with reading(path, "damaged, or written by another version of tierloop"):
        try:
            with opened(path) as store:
                return store.execute(query).fetchall()
        except sqlite3.OperationalError as error:
            if not str(error).startswith("no such table"):
                raise
    return []


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads. Raises UserError for a store in use, sqlite3.Error, OSError.

    What a killed process left in its log beside the store is read with it: where it lies if the
    disk lets SQLite do so, else from a copy.
    """
    log = path.with_name(f"{path.name}-wal")
    if not log.exists():
        with contextlib.closing(_connect(path, "&immutable=1")) as store:
            yield store
        return
    with contextlib.ExitStack() as ends:
        try:
            store = ends.enter_context(contextlib.closing(_connect(path)))
            store.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise UserError(f"{path}: {error}; is the run still going?") from None
            scratch = ends.enter_context(contextlib.closing(in_memory()))
            for one in (path, log):
                shutil.copyfile(one, scratch.path / one.name)
            copy = sqlite3.connect(scratch.path / path.name)
            store = ends.enter_context(contextlib.closing(copy))
        yield store


def _connect(path: Path, more: str = "") -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{more}", LOCK_WAIT_S, uri=True)
