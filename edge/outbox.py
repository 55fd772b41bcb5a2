"""The outbox: experience on disk until the cloud has it. One SQLite file, one lane, one connection.

A commit is durable before it returns (WAL, synchronous=FULL). Which numbers of which boot have
ever been taken in is kept as runs beside the parcels, so that a segment that comes again after it
went up is known, and not stored twice.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from contract.messages import Stored
from edge import tables
from edge.spans import Spans
from edge.triage import Priority

BOOTS_MAX = 4096
"""Boots whose numbers are kept; beyond it the oldest are forgotten of which no parcel waits. What
comes of them again is stored again, and known to the cloud."""

ACKS_MAX = 512
"""Segments listed one by one in an acknowledgement; fits the stream's frame."""


class Name(NamedTuple):
    """Names a segment for good."""

    device: str
    boot: int
    seq: int


class Parcel(NamedTuple):
    """A segment on its way up; `body` is deflated, `digest` that of the body as sealed."""

    name: Name
    digest: int
    priority: Priority
    body: bytes


class Standing(NamedTuple):
    """What the outbox holds: parcels, their bytes, and how many of them are not lent."""

    rows: int
    bytes: int
    unlent: int


class Committed(NamedTuple):
    """What a commit did: acknowledgements to send, counts by name, boots whose numbers went."""

    acks: tuple[Stored, ...]
    counts: Counter[str]
    standing: Standing
    forgotten: tuple[tuple[str, int], ...] = ()


class Loaded(NamedTuple):
    """What a restart finds: per boot, the number below which everything is stored."""

    below: dict[tuple[str, int], int]
    standing: Standing


class Outbox:
    """Every method belongs to one thread and may raise sqlite3.Error; then it changed nothing.

    The file is opened by the first call that needs it, and locked against other processes.
    """

    def __init__(self, path: Path, quota_bytes: int) -> None:
        self._path = path
        self._quota_bytes = quota_bytes
        self._db: sqlite3.Connection | None = None
        self._marks: dict[tuple[str, int], Spans] = {}
        self._lent: set[int] = set()
        self._rows = self._bytes = 0

    def close(self) -> None:
        """Lets go of the file; the next call opens it again."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def load(self) -> Loaded:
        """Opens the file and tells what is in it."""
        self._connection()
        below = {key: spans.below for key, spans in self._marks.items()}
        return Loaded(below, self._standing())

    def knows(self, name: Name) -> bool:
        """Whether this segment was ever taken in, or refused for good."""
        self._connection()
        spans = self._marks.get((name.device, name.boot))
        return spans is not None and name.seq in spans

    def commit(self, parcels: Sequence[Parcel], others: Iterable[Name] = ()) -> Committed:
        """Stores what is new in one transaction and acknowledges it, with `others`.

        `others` are known already or refused for good: their numbers are taken in, nothing else.
        Over the quota, the least telling parcels are dropped, oldest first.
        """
        self._connection()
        counts: Counter[str] = Counter()
        touched: dict[tuple[str, int], Spans] = {}
        names = [*(p.name for p in parcels), *others]
        for device, boot, _ in names:
            known = self._marks.get((device, boot), Spans())
            touched.setdefault((device, boot), Spans(known.runs))
        with self._transaction() as db:
            fresh = [p for p in parcels if touched[p.name[:2]].add(p.name.seq)]
            for name in others:
                touched[name[:2]].add(name.seq)
            for parcel in fresh:
                _insert(db, parcel)
            for key, spans in touched.items():
                runs = msgspec.msgpack.encode(spans.runs)
                db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?)", (*key, runs))
            rows = self._rows + len(fresh)
            size = self._bytes + sum(len(p.body) for p in fresh)
            while size > self._quota_bytes and (shed := self._shed(db)) is not None:
                counts[f"shed.{Priority(shed[0]).name.lower()}"] += 1
                tables.note_shed(db, shed[0])
                rows, size = rows - 1, size - shed[1]
            surplus = len(self._marks.keys() | touched.keys()) - BOOTS_MAX
            forgotten = tables.forget(db, surplus) if surplus > 0 else []
        self._marks.update(touched)
        for key in forgotten:
            del self._marks[key]
        self._rows, self._bytes = rows, size
        counts["stored"] = len(fresh)
        counts["duplicates"] = len(parcels) - len(fresh)
        counts["forgotten.boots"] = len(forgotten)
        acks = tuple(_acks(touched, names))
        return Committed(acks, counts, self._standing(), tuple(forgotten))

    def lend(self, limit: int) -> tuple[list[Parcel], Standing]:
        """The next parcels to send, most telling first, oldest first among equals; each once."""
        found: dict[int, Parcel] = {}
        for priority in sorted(Priority, reverse=True):
            rows = self._connection().execute(
                "SELECT id, device, boot, seq, digest, body FROM parcels WHERE priority = ? "
                "AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
                (priority, _json(self._lent), limit - len(found)),
            )
            for row, device, boot, seq, digest, body in rows.fetchall():
                found[row] = Parcel(Name(device, boot, seq), digest, priority, body)
        self._lent.update(found)
        return list(found.values()), self._standing()

    def settle(self, receipts: Iterable[Stored]) -> tuple[int, Standing]:
        """Deletes what the cloud has stored; the number deleted."""
        gone: list[tuple[int, int]] = []
        with self._transaction() as db:
            for receipt in receipts:
                gone += db.execute(
                    "DELETE FROM parcels WHERE device = ? AND boot = ? AND "
                    "(seq < ? OR seq IN (SELECT value FROM json_each(?))) RETURNING id, bytes",
                    (receipt.device, receipt.boot, receipt.below, _json(receipt.also)),
                ).fetchall()
        self._rows -= len(gone)
        self._bytes -= sum(size for _, size in gone)
        self._lent.difference_update(row for row, _ in gone)
        return len(gone), self._standing()

    def _shed(self, db: sqlite3.Connection) -> tuple[int, int] | None:
        """Drops one parcel that is not under way; its priority and bytes."""
        row: tuple[int, int] | None = db.execute(
            "DELETE FROM parcels WHERE id = (SELECT id FROM parcels "
            "WHERE id NOT IN (SELECT value FROM json_each(?)) ORDER BY priority, id LIMIT 1) "
            "RETURNING priority, bytes",
            (_json(self._lent),),
        ).fetchone()
        return row

    def _standing(self) -> Standing:
        return Standing(self._rows, self._bytes, self._rows - len(self._lent))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._connection()
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            db = sqlite3.connect(self._path, isolation_level=None)
            try:
                tables.prepare(db)
                self._marks = tables.marks(db)
                count = "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM parcels"
                self._rows, self._bytes = db.execute(count).fetchone()
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db


def _insert(db: sqlite3.Connection, parcel: Parcel) -> None:
    db.execute(
        "INSERT INTO parcels (device, boot, seq, digest, priority, bytes, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*parcel.name, parcel.digest, parcel.priority, len(parcel.body), parcel.body),
    )


def _acks(touched: dict[tuple[str, int], Spans], names: Sequence[Name]) -> Iterator[Stored]:
    for key, spans in touched.items():
        device, boot = key
        above = sorted({n.seq for n in names if n[:2] == key and n.seq >= spans.below})
        for at in range(0, len(above) or 1, ACKS_MAX):
            also = tuple(above[at : at + ACKS_MAX])
            yield Stored(device=device, boot=boot, below=spans.below, also=also)


def _json(numbers: Iterable[int]) -> str:
    return msgspec.json.encode(list(numbers)).decode()
