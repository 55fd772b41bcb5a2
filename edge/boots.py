"""Bookkeeping of segment numbers by boot: which are kept, forgotten and acknowledged."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping

from tierloop.contract.messages import ALSO_MAX, Stored
from tierloop.edge import tables
from tierloop.edge.spans import Spans

BOOTS_MAX = 64
"""Boots of one device whose numbers are kept; beyond it the oldest are forgotten of which no parcel
waits. What comes of them again is stored again, and known to the cloud."""

RUNS_MAX = 1024
"""Runs without a gap that are kept of a boot's numbers; the lowest are forgotten likewise. A device
has `backlog_segments` under way and drops the oldest first: so what is below that is settled."""

Boot = tuple[str, int]
"""A device and one of its boots."""

Marks = Mapping[Boot, Spans]
"""The numbers of each boot that were taken in."""


def forget(db: sqlite3.Connection, marks: Marks, touched: Marks) -> list[Boot]:
    """Forgets the oldest boots of each device whose new boot is one too many."""
    forgotten: list[Boot] = []
    for device in dict.fromkeys(key[0] for key in touched if key not in marks):
        boots = {key for key in marks if key[0] == device}
        boots |= {key for key in touched if key[0] == device}
        if (surplus := len(boots) - BOOTS_MAX) > 0:
            forgotten += tables.forget(db, device, surplus)
    return forgotten


def grown(marks: Marks, touched: Marks, forgotten: Collection[Boot]) -> int:
    """Returns by how many runs the numbers of all boots have grown."""
    gone = set(forgotten)
    after = sum(len(spans) for key, spans in touched.items() if key not in gone)
    known = (touched.keys() | gone) & marks.keys()
    return after - sum(len(marks[key]) for key in known)


def acks(touched: Marks, numbers: Mapping[Boot, list[int]]) -> Iterator[Stored]:
    """Returns an acknowledgement for each boot, of these numbers and all below them."""
    for (device, boot), spans in touched.items():
        above = sorted({seq for seq in numbers[device, boot] if seq >= spans.below})
        for at in range(0, len(above) or 1, ALSO_MAX):
            also = tuple(above[at : at + ALSO_MAX])
            yield Stored(device=device, boot=boot, below=spans.below, also=also)
