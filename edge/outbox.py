"""The outbox keeps experience on disk until the cloud has it: one SQLite file, one connection.

A commit is durable before it returns (WAL, synchronous=FULL). Which numbers of which boot have
ever been taken in is kept as runs beside the parcels, so that a segment that comes again after it
went up is known, and not stored twice.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec

from tierloop.contract.counters import SHED, member
from tierloop.contract.messages import SegmentId, Stored
from tierloop.edge import boots, tables
from tierloop.edge.boots import RUNS_MAX, Boot
from tierloop.edge.spans import Spans
from tierloop.edge.triage import Priority

OUTBOX_FILE = "outbox.sqlite"

ROW_BYTES, MARK_BYTES, RUN_BYTES = 128, 64, 18
"""What a parcel, a boot and a run take beside the bodies, counted towards the quota."""

REFUSED_PRIORITY = -1
"""Stands among the priorities of what was dropped for a segment that was refused for good."""

_NONE = Spans()

_NEXT = (
    "SELECT id, device, boot, seq, digest, body FROM parcels WHERE priority = ? "
    "AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?"
)


class Parcel(NamedTuple):
    """A segment on its way up; `body` is deflated, `digest` that of the body as sealed."""

    name: SegmentId
    digest: int
    priority: Priority
    body: bytes


class Standing(NamedTuple):
    """What the outbox holds: parcels, their bytes, and how many of them are not lent."""

    rows: int
    bytes: int
    unlent: int


class OutboxCommit(NamedTuple):
    """What a commit did: acknowledgements to send, counts by name, boots whose numbers went."""

    acks: tuple[Stored, ...]
    counts: Counter[str]
    standing: Standing
    forgotten: tuple[tuple[str, int], ...] = ()


class Loaded(NamedTuple):
    """What a restart finds: per boot, the number below which all segments are stored."""

    below: dict[tuple[str, int], int]
    standing: Standing


class Outbox:
    """Use it from one thread. Every method may raise sqlite3.Error; then it has changed nothing.

    The file is opened by the first call that needs it, and locked against other processes.
    """

    def __init__(self, path: Path, quota_bytes: int) -> None:
        self._path = path
        self._quota_bytes = quota_bytes
        self._db: sqlite3.Connection | None = None
        self._marks: dict[Boot, Spans] = {}
        self._runs = 0
        self._lent: set[int] = set()
        self._rows = self._bytes = 0
        self._damage: Exception | None = None

    def close(self) -> None:
        """Closes the file; the next call opens it again."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def load(self) -> Loaded:
        """Opens the file and returns what is in it.

        A file that is damaged, and is so again when asked anew, or was found so while open, is kept
        beside, never deleted: that is raised as sqlite3.DatabaseError; the next call begins anew.
        """
        known = self._damage
        try:
            if known is not None and self._db is not None:
                raise known
            self._connection()
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            if tables.damaged(error):
                self._damage = error
                if known is not None:
                    self._set_aside(error)
            raise
        below = {key: spans.below for key, spans in self._marks.items()}
        return Loaded(below, self._standing())

    def knows(self, name: SegmentId) -> bool:
        """Whether this segment was ever taken in, or refused for good."""
        self._connection()
        spans = self._marks.get((name.device, name.boot))
        return spans is not None and name.seq in spans

    def commit(self, parcels: Sequence[Parcel], others: Iterable[SegmentId] = ()) -> OutboxCommit:
        """Stores new parcels in one transaction and acknowledges them, with `others`.

        `others` are known already or refused for good: their numbers are taken in, and that they
        were refused is kept, for what was acknowledged and is nowhere must be told from a loss.
        Over the quota, the least telling parcels are dropped, oldest first. The work grows with
        the group, not with what came before it.
        """
        self._connection()
        counts: Counter[str] = Counter()
        numbers: dict[Boot, list[int]] = {}
        for device, boot, seq in (*(p.name for p in parcels), *others):
            numbers.setdefault((device, boot), []).append(seq)
        touched = {key: self._marks.get(key, _NONE).copy() for key in numbers}
        with self._transaction() as db:
            fresh = [p for p in parcels if touched[p.name[:2]].add(p.name.seq) and _insert(db, p)]
            for key, seqs in numbers.items():
                for seq in seqs:
                    if touched[key].add(seq):
                        tables.note_shed(db, REFUSED_PRIORITY)
                counts["forgotten.runs"] += touched[key].forget(RUNS_MAX)
            for key, spans in touched.items():
                packed = msgspec.msgpack.encode(spans.runs)
                db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?)", (*key, packed))
            rows = self._rows + len(fresh)
            size = self._bytes + sum(len(p.body) for p in fresh)
            forgotten = boots.forget(db, self._marks, touched)
            runs = self._runs + boots.grown(self._marks, touched, forgotten)
            kept = len(self._marks.keys() | touched.keys()) - len(forgotten)
            room = self._quota_bytes - kept * MARK_BYTES - runs * RUN_BYTES
            while size + rows * ROW_BYTES > room and (shed := self._shed(db)) is not None:
                counts[member(SHED, Priority(shed[0]).name.lower())] += 1
                tables.note_shed(db, shed[0])
                rows, size = rows - 1, size - shed[1]
        self._marks.update(touched)
        for key in forgotten:
            del self._marks[key]
        self._rows, self._bytes, self._runs = rows, size, runs
        counts["stored"] = len(fresh)
        counts["duplicates"] = len(parcels) - len(fresh)
        counts["forgotten.boots"] = len(forgotten)
        acks = tuple(boots.acks(touched, numbers))
        return OutboxCommit(acks, counts, self._standing(), tuple(forgotten))

    def lend(self, limit: int) -> tuple[list[Parcel], Standing]:
        """Returns the next parcels to send, each once: by priority, then the oldest first."""
        found: dict[int, Parcel] = {}
        for priority in sorted(Priority, reverse=True):
            with self._watched():
                wanted = (priority, _json(self._lent), limit - len(found))
                rows = self._connection().execute(_NEXT, wanted).fetchall()
            for row, device, boot, seq, digest, body in rows:
                found[row] = Parcel(SegmentId(device, boot, seq), digest, priority, body)
        self._lent.update(found)
        return list(found.values()), self._standing()

    def settle(self, receipts: Iterable[Stored]) -> tuple[int, Standing]:
        """Deletes what the cloud has stored. Returns the number deleted."""
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

    def _set_aside(self, error: Exception) -> NoReturn:
        self.close()
        kept, self._damage = tables.set_aside(self._path), None
        self._lent.clear()
        what = f"{self._path}: damaged ({error}); kept as {kept.name}, begun anew"
        raise sqlite3.DatabaseError(what) from error

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Notes damage that is found on the way; `load` sees to it."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if tables.damaged(error):
                self._damage = error
            raise

    def _shed(self, db: sqlite3.Connection) -> tuple[int, int] | None:
        """Drops one parcel that is not under way. Returns its priority and bytes, or None."""
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
        with self._watched():
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
                tables.prepare(db, self._path)
                self._marks = tables.marks(db)
                self._runs = sum(map(len, self._marks.values()))
                count = "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM parcels"
                self._rows, self._bytes = db.execute(count).fetchone()
            except BaseException:
                db.close()
                raise
            self._db, self._damage = db, None
        return self._db


def _insert(db: sqlite3.Connection, parcel: Parcel) -> bool:
    """False if it waits already, though its number was forgotten."""
    done = db.execute(
        "INSERT INTO parcels (device, boot, seq, digest, priority, bytes, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (*parcel.name, parcel.digest, parcel.priority, len(parcel.body), parcel.body),
    )
    return done.rowcount == 1


def _json(numbers: Iterable[int]) -> str:
    return msgspec.json.encode(list(numbers)).decode()
