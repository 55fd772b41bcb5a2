"""The store of the cloud: one SQLite file with every segment once, and every policy."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from tierloop.cloud import lineage
from tierloop.cloud.database import Transaction, connect
from tierloop.cloud.lineage import Policies
from tierloop.contract.messages import SegmentId

STORE_FILE = "store.sqlite"

SCHEMA = """
CREATE TABLE IF NOT EXISTS segments (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL,
    digest INTEGER NOT NULL, received_ns INTEGER NOT NULL,
    versions TEXT NOT NULL, software TEXT NOT NULL, spec TEXT NOT NULL, source TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (device, boot, seq)
) STRICT;
CREATE TABLE IF NOT EXISTS refused (
    device TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL,
    digest INTEGER NOT NULL, received_ns INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (device, boot, seq, digest)
) STRICT, WITHOUT ROWID;
"""


REFUSED_ROWS_MAX = 100_000
"""Refused segments kept by name, about 10 MB; those beyond are acknowledged and not recorded."""


class Datum(NamedTuple):
    """One segment as it is kept; `source` is "lived" if a robot recorded it, or "twin"."""

    key: SegmentId
    digest: int
    received_ns: int
    versions: tuple[int, ...]
    software: str
    spec: str
    body: bytes
    source: str = "lived"


class Misfit(NamedTuple):
    """A datum that can never fit, kept by name and reason, without its body."""

    key: SegmentId
    digest: int
    received_ns: int
    reason: str


class Committed(NamedTuple):
    """What a commit did; `altered` are keys whose digest is not the one first stored."""

    fresh: int
    duplicate: int
    refused: tuple[Misfit, ...]
    altered: tuple[SegmentId, ...]


class Store:
    """One connection, for one lane. Every method that writes commits before it returns.

    Raises sqlite3.Error if the disk is full or fails; nothing of that call is then kept.
    """

    def __init__(self, path: Path) -> None:
        """Opens or makes the file. Raises RuntimeError if SQLite does not grant durability."""
        self._db = connect(path, SCHEMA + lineage.SCHEMA)
        self.policies = Policies(self._db)
        (self._refused,) = self._db.execute("SELECT COUNT(*) FROM refused").fetchone()

    def commit(self, data: Iterable[Datum], misfits: Iterable[Misfit] = ()) -> Committed:
        """Stores what is new, in one transaction; what is known already is counted."""
        fresh, duplicate, altered = 0, 0, []
        refused: list[Misfit] = []
        room = max(0, REFUSED_ROWS_MAX - self._refused)
        with Transaction(self._db):
            for datum in data:
                if self._insert(datum):
                    fresh += 1
                elif self._digest(datum.key) == datum.digest:
                    duplicate += 1
                else:
                    altered.append(datum.key)
            for misfit in misfits:
                if len(refused) >= room or self._note(misfit):
                    refused.append(misfit)
                else:
                    duplicate += 1
        self._refused += min(room, len(refused))
        return Committed(fresh, duplicate, tuple(refused), tuple(altered))

    def contiguous(self, device: str, boot: int, below: int = 0) -> int:
        """The first segment number from `below` up that is neither stored nor refused."""
        rows = self._db.execute(
            "SELECT seq FROM segments WHERE device=:device AND boot=:boot AND seq>=:below UNION "
            "SELECT seq FROM refused WHERE device=:device AND boot=:boot AND seq>=:below "
            "ORDER BY seq",
            {"device": device, "boot": boot, "below": below},
        )
        for (seq,) in rows:
            if seq != below:
                break
            below += 1
        return below

    def experience(self, after: int) -> list[tuple[int, SegmentId, str, bytes]]:
        """Segments stored behind row `after`: (row, key, source, body), oldest first."""
        rows = self._db.execute(
            "SELECT id, device, boot, seq, source, body FROM segments WHERE id>? ORDER BY id",
            (after,),
        )
        return [(row, SegmentId(*key), source, body) for row, *key, source, body in rows]

    def close(self) -> None:
        """Folds the WAL into the file and closes it."""
        self._db.close()

    def _insert(self, datum: Datum) -> bool:
        done = self._db.execute(
            "INSERT INTO segments (device, boot, seq, digest, received_ns, versions, software,"
            " spec, source, body) VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            (
                *datum.key,
                datum.digest,
                datum.received_ns,
                msgspec.json.encode(datum.versions).decode(),
                datum.software,
                datum.spec,
                datum.source,
                datum.body,
            ),
        )
        return done.rowcount == 1

    def _note(self, misfit: Misfit) -> bool:
        done = self._db.execute(
            "INSERT INTO refused VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            (*misfit.key, misfit.digest, misfit.received_ns, misfit.reason),
        )
        return done.rowcount == 1

    def _digest(self, key: SegmentId) -> int:
        row = self._db.execute(
            "SELECT digest FROM segments WHERE device=? AND boot=? AND seq=?", key
        ).fetchone()
        return int(row[0])
