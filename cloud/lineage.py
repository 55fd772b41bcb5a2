"""Keeps every candidate, whether it was released, and the data that it was trained on."""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tierloop.cloud.database import Transaction
from tierloop.contract.messages import SegmentId

SCHEMA = """
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


class SegmentRange(NamedTuple):
    """Segments `first` to `last` of one boot of a device, both included."""

    device: str
    boot: int
    first: int
    last: int


class PolicyRecord(NamedTuple):
    """One candidate: "released" with its artefact, or "refused" by the gate without."""

    version: int
    digest: str
    parents: tuple[int, ...]
    state: str
    metrics: dict[str, float]
    blob: bytes
    data: tuple[SegmentRange, ...]


class Policies:
    """The policies of a store; on its connection, under its rules."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def record(self, policy: PolicyRecord) -> None:
        """Enters a candidate with its lineage. Raises sqlite3.IntegrityError on a known version."""
        with Transaction(self._db):
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

    def newest(self) -> PolicyRecord | None:
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

    def data_of(self, version: int) -> tuple[SegmentRange, ...]:
        """The segments that a policy was trained on."""
        rows = self._db.execute(
            "SELECT device, boot, first_seq, last_seq FROM policy_data "
            "WHERE version=? ORDER BY device, boot, first_seq",
            (version,),
        )
        return tuple(SegmentRange(*row) for row in rows)

    def acted(self, version: int, key: SegmentId) -> bool:
        """Whether a version may have acted in a datum: a release that did not learn from it."""
        row = self._db.execute(
            "SELECT EXISTS (SELECT 1 FROM policies WHERE version=:version AND state='released') "
            "AND NOT EXISTS (SELECT 1 FROM policy_data WHERE version=:version AND device=:device "
            "AND boot=:boot AND first_seq<=:seq AND last_seq>=:seq)",
            {"version": version, **key._asdict()},
        ).fetchone()
        return bool(row[0])

    def policies_of(self, key: SegmentId) -> tuple[int, ...]:
        """The versions that a datum was part of."""
        rows = self._db.execute(
            "SELECT DISTINCT version FROM policy_data "
            "WHERE device=? AND boot=? AND first_seq<=? AND last_seq>=? ORDER BY version",
            (key.device, key.boot, key.seq, key.seq),
        )
        return tuple(version for (version,) in rows)


def ranges(
    keys: Sequence[SegmentId], known: Sequence[SegmentRange] = ()
) -> tuple[SegmentRange, ...]:
    """Keys, in any order, and what is known, as the fewest ranges that hold exactly them."""
    found: list[SegmentRange] = []
    for new in sorted([*known, *(SegmentRange(*key, key.seq) for key in keys)]):
        last = found[-1] if found else None
        if last and last[:2] == new[:2] and new.first <= last.last + 1:
            found[-1] = last._replace(last=max(last.last, new.last))
        else:
            found.append(new)
    return tuple(found)
