"""Accounts for every segment that a device sealed: where it is, or why it was lost."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tierloop.cloud import store_view
from tierloop.contract.messages import SegmentId
from tierloop.contract.reading import Unreadable, reading
from tierloop.edge import outbox_view
from tierloop.edge.outbox_view import Runs
from tierloop.edge.spans import Spans
from tierloop.stack.record.disks import CLOUD_STORE, EDGE_OUTBOX, read
from tierloop.stack.record.record import ROOF, LifeId, Record

AHEAD_MAX = 1024
"""So many segments beyond those that a life reported are believed to be its own."""
_CRASHES = ("died", "hung", "killed")
_LIVES = (*_CRASHES, "started", "restarted", "stopped")
"""What the supervisor says of a life; the last of these tells how it ended."""


class Kept(NamedTuple):
    """What the disks know of one life's segments, each counted once; `top` is the highest seq.

    `dropped`: taken in at the edge and no longer anywhere: shed there, or missing.
    """

    stored: int = 0
    refused: int = 0
    waiting: int = 0
    dropped: int = 0
    top: int = -1

    @property
    def known(self) -> int:
        return self.stored + self.refused + self.waiting + self.dropped


class Books(NamedTuple):
    """produced = stored + refused + waiting + waiting_device + dropped + shed_device + lost.

    In segments. `unbalanced`: those of lives that ended in order which are none of these.
    """

    produced: int
    stored: int
    refused: int
    waiting: int
    waiting_device: int
    dropped: int
    shed_device: int
    lost: int
    unbalanced: int


def kept(
    stored: Iterable[SegmentId],
    refused: Iterable[SegmentId],
    waiting: Iterable[SegmentId],
    promised: Mapping[LifeId, Runs],
) -> dict[LifeId, Kept]:
    """What the stores hold, by life; a segment in two places is counted in the first."""
    seen: dict[LifeId, Spans] = defaultdict(Spans)
    counts: dict[LifeId, list[int]] = defaultdict(lambda: [0, 0, 0, 0, -1])
    for place, names in enumerate((stored, refused, waiting)):
        for device, boot, number in names:
            if seen[device, boot].add(number):
                count = counts[device, boot]
                count[place] += 1
                count[-1] = max(count[-1], number)
    for life, runs in promised.items():
        count = counts[life]
        count[-2] = runs.count - runs.among(seen[life])
        count[-1] = max(count[-1], runs.top)
    return {life: Kept(*count) for life, count in counts.items()}


def holdings(out: Path) -> dict[LifeId, Kept]:
    """What the stores under `out` hold; nothing if one cannot be read, which the audit tells.

    Raises UserError if one is in use by a running tier.
    """
    cloud, edge = out / CLOUD_STORE, out / EDGE_OUTBOX
    try:
        with reading(out):
            return kept(
                read(cloud, store_view.segment_keys),
                (segment.key for segment in read(cloud, store_view.refused)),
                (segment.key for segment in read(edge, outbox_view.waiting)),
                {(device, boot): runs for device, boot, runs in read(edge, outbox_view.taken_in)},
            )
    except Unreadable:
        return {}


def balance(record: Record, held: Mapping[LifeId, Kept]) -> Books:
    """The books of all lives, of those that were heard and those that only the disks know.

    A killed life's last second is unknown to the roof: what the disks hold beyond its last report
    it has made as well.
    """
    heard = {(life.process, life.boot): life.last for life in record.of("device")}
    crashed, found = _crashed(record), Counter[str]()
    for life in {*heard, *held}:
        last, here = heard.get(life), held.get(life, Kept())
        told = Counter(last.counters if last else {})
        made = int(told["segments.produced"])
        made = max(made, here.known, here.top + 1 if here.top < made + AHEAD_MAX else 0)
        shed = min(int(told["segments.shed"]), made - here.known)
        rest = made - here.known - shed
        found.update({"produced": made, "shed_device": shed})
        found.update(here._asdict())
        if last is None or life in crashed:
            found["lost"] += rest
        else:
            found["waiting_device"] += rest
            found["unbalanced"] += max(0, rest - int(last.gauges.get("backlog", 0)))
    return Books(**{name: found[name] for name in Books._fields})


def _crashed(record: Record) -> set[LifeId]:
    """The lives that did not end in order: another followed, or the last word is a crash."""
    lives = [(life.process, life.boot) for life in record.of("device")]
    newest = dict(sorted(lives))
    last = {h.process: h.name for h in record.happenings if h.role == ROOF and h.name in _LIVES}
    return {
        (process, boot)
        for process, boot in lives
        if boot != newest[process] or last.get(process) in _CRASHES
    }
