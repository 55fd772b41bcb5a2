"""The cloud's store: every datum once, every policy with the data it came from. One SQLite file."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

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
CREATE TABLE IF NOT EXISTS policies (
    version INTEGER PRIMARY KEY, digest TEXT NOT NULL, parents TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('released', 'refused')),
    metrics TEXT NOT NULL, blob BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS withdrawn (
    version INTEGER PRIMARY KEY REFERENCES policies (version),
    instead INTEGER NOT NULL REFERENCES policies (version),
    at_ns INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS policy_data (
    version INTEGER NOT NULL REFERENCES policies (version),
    device TEXT NOT NULL, boot INTEGER NOT NULL,
    first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    PRIMARY KEY (version, device, boot, first_seq)
) STRICT, WITHOUT ROWID;
"""


class Key(NamedTuple):
    """Names a datum for good."""

    device: str
    boot: int
    seq: int


class Span(NamedTuple):
    """Segments `first` to `last` of one boot of a device, both included."""

    device: str
    boot: int
    first: int
    last: int


class Datum(NamedTuple):
    """One segment as it is kept; `source` says where it was lived: "lived" or "twin"."""

    key: Key
    digest: int
    received_ns: int
    versions: tuple[int, ...]
    software: str
    spec: str
    body: bytes
    source: str = "lived"


class Misfit(NamedTuple):
    """A datum that can never fit, kept by name and reason, without its body."""

    key: Key
    digest: int
    received_ns: int
    reason: str


class PolicyRecord(NamedTuple):
    """One candidate: "released" with its artefact, or "refused" by the gate without."""

    version: int
    digest: str
    parents: tuple[int, ...]
    state: str
    metrics: dict[str, float]
    blob: bytes
    data: tuple[Span, ...]


class Committed(NamedTuple):
    """What a commit did; `altered` are keys whose digest is not the one first stored."""

    fresh: int
    duplicate: int
    refused: tuple[Misfit, ...]
    altered: tuple[Key, ...]


class Store:
    """One connection, for one lane. Every method that writes commits before it returns.

    Raises sqlite3.Error if the disk is full or fails; nothing of that call is then kept.
    """

    def __init__(self, path: Path) -> None:
        """Opens or makes the file. Raises RuntimeError if SQLite does not grant durability."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma, granted in (("journal_mode=WAL", "wal"), ("synchronous=FULL", 2)):
            self._db.execute(f"PRAGMA {pragma}")
            value = self._db.execute(f"PRAGMA {pragma.split('=')[0]}").fetchone()[0]
            if value != granted:
                raise RuntimeError(f"{path}: asked for {pragma}, SQLite gave {value!r}")
        self._db.execute("PRAGMA foreign_keys=ON")
        self._db.executescript(SCHEMA)

    def commit(self, data: Iterable[Datum], misfits: Iterable[Misfit] = ()) -> Committed:
        """Stores what is new, in one transaction; what is known already is counted."""
        fresh, duplicate, altered, refused = 0, 0, [], []
        with _Transaction(self._db):
            for datum in data:
                if self._insert(datum):
                    fresh += 1
                elif self._digest(datum.key) == datum.digest:
                    duplicate += 1
                else:
                    altered.append(datum.key)
            for misfit in misfits:
                if self._note(misfit):
                    refused.append(misfit)
                else:
                    duplicate += 1
        return Committed(fresh, duplicate, tuple(refused), tuple(altered))

    def contiguous(self, device: str, boot: int, below: int = 0) -> int:
        """The first segment number from `below` up that is neither stored nor refused."""
        rows = self._db.execute(
            "SELECT seq FROM segments WHERE device=?1 AND boot=?2 AND seq>=?3 UNION "
            "SELECT seq FROM refused WHERE device=?1 AND boot=?2 AND seq>=?3 ORDER BY seq",
            (device, boot, below),
        )
        for (seq,) in rows:
            if seq != below:
                break
            below += 1
        return below

    def experience(self, after: int) -> list[tuple[int, Key, str, bytes]]:
        """Segments stored behind row `after`: (row, key, source, body), oldest first."""
        rows = self._db.execute(
            "SELECT id, device, boot, seq, source, body FROM segments WHERE id>? ORDER BY id",
            (after,),
        )
        return [(row, Key(*key), source, body) for row, *key, source, body in rows]

    def record(self, policy: PolicyRecord) -> None:
        """Enters a candidate with its lineage. Raises sqlite3.IntegrityError on a known version."""
        with _Transaction(self._db):
            self._db.execute(
                "INSERT INTO policies VALUES (?,?,?,?,?,?)",
                (
                    policy.version,
                    policy.digest,
                    msgspec.json.encode(policy.parents).decode(),
                    policy.state,
                    msgspec.json.encode(policy.metrics).decode(),
                    policy.blob,
                ),
            )
            self._db.executemany(
                "INSERT INTO policy_data VALUES (?,?,?,?,?)",
                [(policy.version, *span) for span in policy.data],
            )

    def withdraw(self, version: int, instead: int, at_ns: int, reason: str) -> PolicyRecord | None:
        """Enters that a release gave way to `instead`, and returns that.

        None, and nothing is entered, if `instead` is no release of this store.
        """
        record = self._release("version=?", instead)
        if record is not None:
            self._db.execute(
                "INSERT INTO withdrawn VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
                (version, instead, at_ns, reason),
            )
        return record

    def withdrawn(self) -> list[tuple[int, str]]:
        """Version and digest of every release that was withdrawn."""
        rows = self._db.execute(
            "SELECT version, digest FROM policies JOIN withdrawn USING (version) ORDER BY version"
        )
        return list(rows)

    def newest_release(self) -> PolicyRecord | None:
        """The released policy with the highest version that was not withdrawn."""
        return self._release("version NOT IN (SELECT version FROM withdrawn)")

    def _release(self, which: str, *values: int) -> PolicyRecord | None:
        row = self._db.execute(
            "SELECT version, digest, parents, state, metrics, blob FROM policies "
            f"WHERE state='released' AND {which} ORDER BY version DESC LIMIT 1",
            values,
        ).fetchone()
        if row is None:
            return None
        version, digest, parents, state, metrics, blob = row
        return PolicyRecord(
            version,
            digest,
            msgspec.json.decode(parents, type=tuple[int, ...]),
            state,
            msgspec.json.decode(metrics, type=dict[str, float]),
            blob,
            self.data_of(version),
        )

    def next_version(self) -> int:
        """The number of the next candidate; numbers are never used twice."""
        row = self._db.execute("SELECT coalesce(max(version) + 1, 0) FROM policies").fetchone()
        return int(row[0])

    def data_of(self, version: int) -> tuple[Span, ...]:
        """The lived data a policy was trained on."""
        rows = self._db.execute(
            "SELECT device, boot, first_seq, last_seq FROM policy_data "
            "WHERE version=? ORDER BY device, boot, first_seq",
            (version,),
        )
        return tuple(Span(*row) for row in rows)

    def policies_of(self, key: Key) -> tuple[int, ...]:
        """The versions that a datum was part of."""
        rows = self._db.execute(
            "SELECT DISTINCT version FROM policy_data "
            "WHERE device=? AND boot=? AND first_seq<=? AND last_seq>=? ORDER BY version",
            (key.device, key.boot, key.seq, key.seq),
        )
        return tuple(version for (version,) in rows)

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

    def _digest(self, key: Key) -> int:
        row = self._db.execute(
            "SELECT digest FROM segments WHERE device=? AND boot=? AND seq=?", key
        ).fetchone()
        return int(row[0])


class _Transaction:
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


def spans(keys: Sequence[Key]) -> tuple[Span, ...]:
    """Keys, in any order, as the fewest spans that hold exactly them."""
    found: list[Span] = []
    for key in sorted(set(keys)):
        if found and found[-1][:2] == key[:2] and found[-1].last == key.seq - 1:
            found[-1] = found[-1]._replace(last=key.seq)
        else:
            found.append(Span(key.device, key.boot, key.seq, key.seq))
    return tuple(found)
