"""The audit: what bodies were told is safe against what the disks really hold."""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from contract.codec import digest64
from contract.errors import UserError
from policy.shelf import JOURNAL, Entry

CLOUD_STORE = Path("state/cloud/store.sqlite")
EDGE_OUTBOX = Path("state/edge/outbox.sqlite")
EDGE_JOURNAL = Path("state/edge/policies") / JOURNAL

_SEGMENTS = "SELECT device, boot, seq, digest, body FROM segments WHERE source='lived'"

DAMAGED = frozenset(
    ("digest", "deflate", "oversize", "damaged", "truncated", "malformed", "empty", "not_a_segment")
)
"""Reasons for which the cloud refuses bytes that no body sealed: the edge had checked them."""

Life = tuple[str, int]
Step = Entry
"""A policy put in force at the edge."""


class Audit(NamedTuple):
    """Segments on disk: `stored` in the cloud, `waiting` at the edge, and what is wrong.

    `missing` were acknowledged to a body and are in neither place, nor were they shed; `altered`
    do not hold the bytes that the body sealed. `checked`: the cloud's store was there; where it is
    not, nothing counts as missing. `steps`: what the edge put in force, in order.
    """

    stored: int
    waiting: int
    duplicate: int
    missing: int
    altered: int
    checked: bool = True
    steps: tuple[Step, ...] = ()


class Release(NamedTuple):
    """A released policy, as the cloud's store names it."""

    version: int
    digest: str
    parents: tuple[int, ...]
    metrics: dict[str, float]


def audit(out: Path, acked: Mapping[Life, int], shed: int) -> Audit:
    """Counts what the stores under `out` hold; where the cloud's is not, nothing is missing.

    `acked`: segments that each life of a device knows to be safe; `shed`: what the edge says it
    dropped for want of room, of which its disk may know more. Raises UserError if a store is in
    use by a running tier.
    """
    stored_here = (out / CLOUD_STORE).exists()
    stored = _rows(out / CLOUD_STORE, _SEGMENTS)
    refused = _rows(out / CLOUD_STORE, "SELECT device, boot, seq, reason FROM refused")
    waiting = _rows(out / EDGE_OUTBOX, "SELECT device, boot, seq FROM parcels")
    runs = _rows(out / EDGE_OUTBOX, "SELECT device, boot, runs FROM marks")
    promised = {(*life, seq) for *life, packed in runs for seq in _numbers(packed)}
    keys = [row[:3] for row in stored]
    held = {*keys, *(row[:3] for row in refused), *waiting}
    known = Counter((device, boot) for device, boot, _ in promised | held)
    unknown = sum(max(0, n - known[life]) for life, n in acked.items())
    gone = max(shed, sum(n for (n,) in _rows(out / EDGE_OUTBOX, "SELECT parcels FROM shed")))
    changed = sum(digest64(body) != digest for *_, digest, body in stored)
    return Audit(
        stored=len(keys),
        waiting=len({*waiting} - {*keys}),
        duplicate=len(stored) - len({digest for *_, digest, _ in stored}),
        missing=max(0, len(promised - held) - gone) + unknown if stored_here else 0,
        altered=changed + sum(reason in DAMAGED for *_, reason in refused),
        checked=stored_here,
        steps=_steps(out / EDGE_JOURNAL),
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


def _numbers(packed: bytes) -> Iterable[int]:
    runs = msgspec.msgpack.decode(packed, type=list[tuple[int, int]])
    return chain.from_iterable(range(first, end) for first, end in runs)


def _steps(path: Path) -> tuple[Step, ...]:
    if not path.exists():
        return ()
    return msgspec.json.decode(path.read_bytes(), type=tuple[Step, ...])


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """None where the store is not, or its process ended before it had made its tables."""
    if not path.exists():
        return []
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=1.0)) as database:
            return database.execute(query).fetchall()
    except sqlite3.DatabaseError as error:
        if str(error).startswith("no such table"):
            return []
        raise UserError(f"{path}: {error}; is the run still going?") from None
