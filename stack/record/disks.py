"""The audit: what bodies were told is safe against what the disks really hold."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from tierloop.contract.codec import digest64
from tierloop.contract.reading import Unreadable, reading
from tierloop.policy.shelf import JOURNAL, Entry
from tierloop.stack.record import stores
from tierloop.stack.record.damage import Damage
from tierloop.stack.record.segment_runs import Runs

CLOUD_STORE = Path("state/cloud/store.sqlite")
EDGE_OUTBOX = Path("state/edge/outbox.sqlite")
EDGE_JOURNAL = Path("state/edge/policies") / JOURNAL

ASIDE = ".damaged-"
"""Stands, with a number, behind the name of a store that the edge found damaged and kept."""

T = TypeVar("T")

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


def audit(
    out: Path, acked: Mapping[Life, int], shed: int, damaged: list[Damage] | None = None
) -> Audit:
    """Counts what the stores under `out` hold; where the cloud's is not, nothing is missing.

    `acked`: segments that each life of a device knows to be safe; `shed`: what the edge says it
    dropped for want of room or refused for good, of which its disk may know more. Damage is judged
    of the lives that were heard, if any was: a stranger's is not the stack's. What cannot be read
    is added to `damaged`; without such a list it raises Unreadable. Raises UserError if a store is
    in use by a running tier.
    """
    disk = _Disk(out, damaged)
    stored = disk.rows(CLOUD_STORE, _SEGMENTS)
    refused = disk.rows(CLOUD_STORE, "SELECT device, boot, seq, reason FROM refused")
    waiting = disk.rows(EDGE_OUTBOX, "SELECT device, boot, seq FROM parcels")
    runs = disk.rows(EDGE_OUTBOX, "SELECT device, boot, runs FROM marks")
    dropped = disk.rows(EDGE_OUTBOX, "SELECT parcels FROM shed")
    keys = [row[:3] for row in stored]
    held: dict[Life, set[int]] = defaultdict(set)
    for device, boot, seq in {*keys, *(row[:3] for row in refused), *waiting}:
        held[device, boot].add(seq)
    known, vanished = {life: len(numbers) for life, numbers in held.items()}, 0
    for device, boot, packed in runs:
        if promised := disk.numbers(packed):
            absent = promised.count - promised.among(held[device, boot])
            known[device, boot] = len(held[device, boot]) + absent
            vanished += absent
    unknown = sum(max(0, n - known.get(life, 0)) for life, n in acked.items())
    gone = max(shed, sum(n for (n,) in dropped))
    changed = sum(digest64(body) != digest for *_, digest, body in stored)
    damaged_by = [reason for *life, _, reason in refused if not acked or tuple(life) in acked]
    stored_here = (out / CLOUD_STORE).exists() and not disk.hides_segments
    return Audit(
        stored=len(keys),
        waiting=len({*waiting} - {*keys}),
        duplicate=len(stored) - len({digest for *_, digest, _ in stored}),
        missing=max(0, vanished + unknown - gone) if stored_here else 0,
        altered=changed + sum(reason in DAMAGED for reason in damaged_by),
        checked=stored_here,
        steps=disk.steps(),
    )


class _Disk:
    """What the tiers left under a record's folder; what cannot be read goes to `damaged`."""

    def __init__(self, out: Path, damaged: list[Damage] | None) -> None:
        self._out, self._strict = out, damaged is None
        self._damaged = [] if damaged is None else damaged
        for path in sorted(out.glob(f"{EDGE_OUTBOX}{ASIDE}*[0-9]")):
            why = "the edge found it damaged and kept it aside"
            self._damaged.append(Damage(str(path.relative_to(out)), why))

    @property
    def hides_segments(self) -> bool:
        """Whether segments may lie in what cannot be read."""
        places = str(CLOUD_STORE), str(EDGE_OUTBOX)
        return any(damage.file.startswith(places) for damage in self._damaged)

    def rows(self, store: Path, query: str) -> list[tuple[Any, ...]]:
        return self._attempt(store, lambda: stores.rows(self._out / store, query), [])

    def numbers(self, packed: bytes) -> Runs | None:
        return self._attempt(EDGE_OUTBOX, lambda: Runs(packed), None)

    def steps(self) -> tuple[Step, ...]:
        path = self._out / EDGE_JOURNAL
        if not path.exists():
            return ()
        decode = partial(msgspec.json.decode, type=tuple[Step, ...])
        return self._attempt(EDGE_JOURNAL, lambda: decode(path.read_bytes()), ())

    def _attempt(self, file: Path, read: Callable[[], T], nothing: T) -> T:
        try:
            with reading(self._out / file):
                return read()
        except Unreadable as error:
            if self._strict:
                raise
            if all(damage.file != str(file) for damage in self._damaged):
                self._damaged.append(Damage(str(file), error.why))
            return nothing


def releases(out: Path) -> list[Release]:
    """The policies released in a run, by version; none where the store cannot be read."""
    query = "SELECT version, digest, parents, metrics FROM policies WHERE state='released'"
    try:
        with reading(out / CLOUD_STORE):
            return [
                Release(
                    version,
                    digest,
                    msgspec.json.decode(parents, type=tuple[int, ...]),
                    msgspec.json.decode(metrics, type=dict[str, float]),
                )
                for version, digest, parents, metrics in sorted(
                    stores.rows(out / CLOUD_STORE, query)
                )
            ]
    except Unreadable:  # the audit tells it
        return []
