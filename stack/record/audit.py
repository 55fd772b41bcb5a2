"""The audit: compares what devices were told is safe with what the disks hold."""

from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from tierloop.cloud import store_view
from tierloop.cloud.store_view import RefusedSegment, StoredSegment
from tierloop.contract.codec import digest64
from tierloop.contract.messages import SegmentId
from tierloop.contract.reading import Unreadable, reading
from tierloop.edge import outbox_view
from tierloop.edge.outbox_view import WaitingSegment
from tierloop.edge.spans import Spans
from tierloop.edge.tables import ASIDE_SUFFIX
from tierloop.policy import journal
from tierloop.policy.journal import Entry
from tierloop.stack.record.damage import Damage
from tierloop.stack.record.disks import CLOUD_STORE, EDGE_JOURNAL, EDGE_OUTBOX, Query, read
from tierloop.stack.record.record import LifeId

T = TypeVar("T")
R = TypeVar("R")

DAMAGED = frozenset(
    ("digest", "deflate", "oversize", "damaged", "truncated", "malformed", "empty", "not_a_segment")
)
"""Reasons for which the cloud refuses bytes that no body sealed: the edge had checked them."""


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
    steps: tuple[Entry, ...] = ()


def audit(
    out: Path, acked: Mapping[LifeId, int], shed: int, damaged: list[Damage] | None = None
) -> Audit:
    """Counts what the stores under `out` hold; where the cloud's is not, nothing is missing.

    `acked`: segments that each life of a device knows to be safe; `shed`: what the edge says it
    dropped for want of room or refused for good, of which its disk may know more. Damage is judged
    of the lives that were heard, if any was: a stranger's is not the stack's. What cannot be read
    is added to `damaged`; without such a list it raises Unreadable. Raises UserError if a store is
    in use by a running tier.
    """
    disk = _Disk(out, damaged)
    stored = disk.gather(CLOUD_STORE, store_view.segments, _Stored)
    refused = disk.gather(CLOUD_STORE, store_view.refused, lambda rows: _Refused(rows, acked))
    waiting = disk.gather(EDGE_OUTBOX, outbox_view.waiting, _numbers_of)
    held: dict[LifeId, Spans] = defaultdict(Spans)
    for numbers in (stored.numbers, refused.numbers, waiting.numbers):
        for life, members in numbers.items():
            for number in members:
                held[life].add(number)
    known, vanished = {life: numbers.count for life, numbers in held.items()}, 0
    for device, boot, promised in disk.gather(EDGE_OUTBOX, outbox_view.taken_in, list):
        absent = promised.count - promised.among(held[device, boot])
        known[device, boot] = held[device, boot].count + absent
        vanished += absent
    unknown = sum(max(0, n - known.get(life, 0)) for life, n in acked.items())
    gone = max(shed, sum(disk.gather(EDGE_OUTBOX, outbox_view.dropped, list)))
    stored_here = (out / CLOUD_STORE).exists() and not disk.hides_segments
    return Audit(
        stored=len(stored.digests),
        waiting=sum(
            number not in stored.numbers[life]
            for life, numbers in waiting.numbers.items()
            for number in numbers
        ),
        duplicate=len(stored.digests) - len(np.unique(stored.digests)),
        missing=max(0, vanished + unknown - gone) if stored_here else 0,
        altered=stored.altered + refused.damaged,
        checked=stored_here,
        steps=disk.steps(),
    )


class _Numbers:
    """The numbers of segments by life, as runs: memory grows with the gaps, not with the run."""

    def __init__(self, keys: Iterable[SegmentId] = ()) -> None:
        self.numbers: dict[LifeId, Spans] = defaultdict(Spans)
        for key in keys:
            self.note(key)

    def note(self, key: SegmentId) -> None:
        self.numbers[key.device, key.boot].add(key.seq)


class _Stored(_Numbers):
    """The segments in the cloud: their digests, eight bytes each, and how many were altered."""

    def __init__(self, rows: Iterable[StoredSegment]) -> None:
        super().__init__()
        self.digests, self.altered = array("q"), 0
        for segment in rows:
            self.note(segment.key)
            self.digests.append(segment.digest)
            self.altered += digest64(segment.body) != segment.digest


class _Refused(_Numbers):
    """The segments that the cloud refused; `damaged`: for their bytes, of the lives heard."""

    def __init__(self, rows: Iterable[RefusedSegment], heard: Collection[LifeId]) -> None:
        super().__init__()
        self.damaged = 0
        for segment in rows:
            self.note(segment.key)
            known = not heard or segment.key[:2] in heard
            self.damaged += known and segment.reason in DAMAGED


def _numbers_of(rows: Iterable[WaitingSegment]) -> _Numbers:
    return _Numbers(segment.key for segment in rows)


class _Disk:
    """What the tiers left under a record's folder; what cannot be read goes to `damaged`."""

    def __init__(self, out: Path, damaged: list[Damage] | None) -> None:
        self._out, self._strict = out, damaged is None
        self._damaged = [] if damaged is None else damaged
        for path in sorted(out.glob(f"{EDGE_OUTBOX}{ASIDE_SUFFIX}*[0-9]")):
            why = "the edge found it damaged and kept it aside"
            self._damaged.append(Damage(str(path.relative_to(out)), why))

    @property
    def hides_segments(self) -> bool:
        """Whether segments may lie in what cannot be read."""
        places = str(CLOUD_STORE), str(EDGE_OUTBOX)
        return any(damage.file.startswith(places) for damage in self._damaged)

    def gather(self, store: Path, view: Query[T], into: Callable[[Iterable[T]], R]) -> R:
        """What `into` makes of the rows, which come one at a time; of none if one is unreadable."""
        try:
            with reading(self._out / store):
                return into(read(self._out / store, view))
        except Unreadable as error:
            self._note(store, error)
            return into(())

    def steps(self) -> tuple[Entry, ...]:
        try:
            with reading(self._out / EDGE_JOURNAL):
                return tuple(journal.read(self._out / EDGE_JOURNAL))
        except Unreadable as error:
            self._note(EDGE_JOURNAL, error)
            return ()

    def _note(self, file: Path, error: Unreadable) -> None:
        if self._strict:
            raise error
        if all(damage.file != str(file) for damage in self._damaged):
            self._damaged.append(Damage(str(file), error.why))
