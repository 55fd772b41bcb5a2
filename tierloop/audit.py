"""The audit: what bodies were told is safe against what the disks really hold."""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from contract.codec import digest64

CLOUD_STORE = Path("state/cloud/cloud.sqlite")
EDGE_OUTBOX = Path("state/edge/outbox.sqlite")

Key = tuple[str, int, int]


class Audit(NamedTuple):
    """Segments on disk: `stored` in the cloud, `waiting` at the edge, and what is wrong.

    `missing` were acknowledged to a body and are in neither place; `altered` do not hold the
    bytes that the body sealed.
    """

    stored: int
    waiting: int
    duplicate: int
    missing: int
    altered: int


class Release(NamedTuple):
    """A released policy, as the cloud's store names it."""

    version: int
    digest: str
    parents: tuple[int, ...]
    metrics: dict[str, float]


def audit(out: Path, acked: Mapping[tuple[str, int], int]) -> Audit:
    """Counts what the stores under `out` hold against `acked` segments by device and boot."""
    stored = _rows(out / CLOUD_STORE, "SELECT device, boot, seq, digest, body FROM segments")
    refused = _rows(out / CLOUD_STORE, "SELECT device, boot, seq, reason FROM refused")
    outbox = _rows(out / EDGE_OUTBOX, "SELECT device, boot, seq FROM parcels")
    keys = [row[:3] for row in stored]
    known = Counter((device, boot) for device, boot, _ in {*keys, *_keys(refused), *_keys(outbox)})
    changed = sum(digest64(body) != digest for *_, digest, body in stored)
    return Audit(
        stored=len(keys),
        waiting=len(set(_keys(outbox)) - set(keys)),
        duplicate=len(keys) - len(set(keys)),
        missing=sum(max(0, n - known[life]) for life, n in acked.items()),
        altered=changed + sum(reason == "digest" for *_, reason in refused),
    )


def releases(out: Path) -> list[Release]:
    """The policies released in a run, by version."""
    query = "SELECT version, digest, parents, metrics FROM policies WHERE state='released'"
    return [
        Release(
            version,
            digest,
            msgspec.json.decode(parents, type=tuple[int, ...]),
            msgspec.json.decode(metrics, type=dict[str, float]),
        )
        for version, digest, parents, metrics in sorted(_rows(out / CLOUD_STORE, query))
    ]


def _keys(rows: Iterable[tuple[Any, ...]]) -> list[Key]:
    return [(row[0], row[1], row[2]) for row in rows]


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()
