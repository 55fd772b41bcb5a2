"""What the cloud's store holds, for those who only read it.

Each function asks an open database, changes nothing, and raises sqlite3.Error. The rows come in the
order of their commits where nothing else is said.
"""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from tierloop.contract.messages import SegmentId


class StoredSegment(NamedTuple):
    """A segment as it is stored: `digest` is that of the body as the device sealed it."""

    key: SegmentId
    digest: int
    received_ns: int
    body: bytes


class RefusedSegment(NamedTuple):
    """A segment that the cloud refused for good."""

    key: SegmentId
    reason: str


class StoredRelease(NamedTuple):
    """A released policy; `parents` are the versions that it was trained from."""

    version: int
    digest: str
    parents: tuple[int, ...]
    metrics: dict[str, float]


def every_segment(db: sqlite3.Connection) -> Iterator[StoredSegment]:
    """All segments, those of the twin too, one at a time."""
    query = "SELECT device, boot, seq, digest, received_ns, body FROM segments ORDER BY id"
    return (StoredSegment(SegmentId(*row[:3]), *row[3:]) for row in db.execute(query))


def segments(db: sqlite3.Connection) -> Iterator[StoredSegment]:
    """The segments that devices recorded, one at a time."""
    query = "SELECT device, boot, seq, digest, received_ns, body FROM segments WHERE source='lived'"
    return (StoredSegment(SegmentId(*row[:3]), *row[3:]) for row in db.execute(query))


def segment_keys(db: sqlite3.Connection) -> Iterator[SegmentId]:
    """The names of the segments that devices recorded, one at a time."""
    query = "SELECT device, boot, seq FROM segments WHERE source='lived'"
    return (SegmentId(*row) for row in db.execute(query))


def refused(db: sqlite3.Connection) -> Iterator[RefusedSegment]:
    query = "SELECT device, boot, seq, reason FROM refused"
    return (RefusedSegment(SegmentId(*key), reason) for *key, reason in db.execute(query))


def releases(db: sqlite3.Connection) -> list[StoredRelease]:
    """The released policies, by version. Raises msgspec.MsgspecError for damaged ones."""
    query = (
        "SELECT version, digest, parents, metrics FROM policies WHERE state='released' "
        "ORDER BY version"
    )
    return [
        StoredRelease(
            version,
            digest,
            msgspec.json.decode(parents, type=tuple[int, ...]),
            msgspec.json.decode(metrics, type=dict[str, float]),
        )
        for version, digest, parents, metrics in db.execute(query)
    ]


def artefacts(db: sqlite3.Connection) -> list[tuple[int, bytes]]:
    """Each released version with its artefact."""
    return db.execute("SELECT version, blob FROM policies WHERE state='released'").fetchall()
