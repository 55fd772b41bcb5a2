"""The audit: compares what devices were told is safe with what the disks hold."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from tierloop.cloud import store_view
from tierloop.contract.codec import digest64
from tierloop.contract.reading import Unreadable, reading
from tierloop.edge import outbox_view
from tierloop.edge.tables import ASIDE_SUFFIX
from tierloop.policy import journal
from tierloop.policy.journal import Entry
from tierloop.stack.record.damage import Damage
from tierloop.stack.record.disks import CLOUD_STORE, EDGE_JOURNAL, EDGE_OUTBOX, Query, read
from tierloop.stack.record.record import LifeId

T = TypeVar("T")

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
    stored = disk.rows(CLOUD_STORE, store_view.segments)
    refused = disk.rows(CLOUD_STORE, store_view.refused)
    waiting = {segment.key for segment in disk.rows(EDGE_OUTBOX, outbox_view.waiting)}
    runs = disk.rows(EDGE_OUTBOX, outbox_view.taken_in)
    dropped = disk.rows(EDGE_OUTBOX, outbox_view.dropped)
    keys = [segment.key for segment in stored]
    held: dict[LifeId, set[int]] = defaultdict(set)
    for device, boot, seq in {*keys, *(segment.key for segment in refused), *waiting}:
        held[device, boot].add(seq)
    known, vanished = {life: len(numbers) for life, numbers in held.items()}, 0
    for device, boot, promised in runs:
        absent = promised.count - promised.among(held[device, boot])
        known[device, boot] = len(held[device, boot]) + absent
        vanished += absent
    unknown = sum(max(0, n - known.get(life, 0)) for life, n in acked.items())
    gone = max(shed, sum(dropped))
    changed = sum(digest64(segment.body) != segment.digest for segment in stored)
    damaged_by = [segment.reason for segment in refused if not acked or segment.key[:2] in acked]
    stored_here = (out / CLOUD_STORE).exists() and not disk.hides_segments
    return Audit(
        stored=len(keys),
        waiting=len(waiting - {*keys}),
        duplicate=len(stored) - len({segment.digest for segment in stored}),
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
        for path in sorted(out.glob(f"{EDGE_OUTBOX}{ASIDE_SUFFIX}*[0-9]")):
            why = "the edge found it damaged and kept it aside"
            self._damaged.append(Damage(str(path.relative_to(out)), why))

    @property
    def hides_segments(self) -> bool:
        """Whether segments may lie in what cannot be read."""
        places = str(CLOUD_STORE), str(EDGE_OUTBOX)
        return any(damage.file.startswith(places) for damage in self._damaged)

    def rows(self, store: Path, view: Query[T]) -> list[T]:
        return self._attempt(store, lambda: read(self._out / store, view))

    def steps(self) -> tuple[Entry, ...]:
        return tuple(self._attempt(EDGE_JOURNAL, lambda: journal.read(self._out / EDGE_JOURNAL)))

    def _attempt(self, file: Path, attempt: Callable[[], list[T]]) -> list[T]:
        try:
            with reading(self._out / file):
                return attempt()
        except Unreadable as error:
            if self._strict:
                raise
            if all(damage.file != str(file) for damage in self._damaged):
                self._damaged.append(Damage(str(file), error.why))
            return []
