"""Checks, ranks, deflates and commits groups of sealed segments."""

import zlib
from collections import Counter
from collections.abc import Sequence

from tierloop.contract.codec import digest64
from tierloop.contract.counters import REFUSED, member
from tierloop.contract.errors import WireError
from tierloop.contract.messages import Sealed, SegmentId
from tierloop.edge.outbox import Outbox, OutboxCommit, Parcel
from tierloop.edge.triage import Triage

DEFLATE_LEVEL = 1


class Intake:
    """Checks, weighs, deflates and commits groups. It shares the outbox's lane."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._triage = Triage()

    def take(self, group: Sequence[Sealed]) -> OutboxCommit:
        """Commits a group and returns what came of it.

        Bytes that do not match their digest are counted and not acknowledged: the device still
        has the right ones. Bytes that are no segment are acknowledged: the device has nothing
        better. A segment under another one's name is not: that would acknowledge the other.
        Raises sqlite3.Error; then nothing of the group is acknowledged.
        """
        counts: Counter[str] = Counter()
        parcels: list[Parcel] = []
        others: list[SegmentId] = []
        for sealed in group:
            name = SegmentId(sealed.device, sealed.boot, sealed.seq)
            if self._outbox.knows(name):
                counts["duplicates"] += 1
                others.append(name)
            elif digest64(sealed.body.data) != sealed.digest:
                counts["refused.digest"] += 1
            else:
                try:
                    parcels.append(self._parcel(name, sealed, counts))
                except WireError as error:
                    counts[member(REFUSED, error.reason)] += 1
                    if error.reason != "wrong_name":
                        others.append(name)
        committed = self._outbox.commit(parcels, others)
        return committed._replace(counts=committed.counts + counts)

    def _parcel(self, name: SegmentId, sealed: Sealed, counts: Counter[str]) -> Parcel:
        priority = self._triage.weigh(sealed)
        body = zlib.compress(sealed.body.data, DEFLATE_LEVEL)
        counts["segment_bytes.raw"] += len(sealed.body)
        counts["segment_bytes.deflated"] += len(body)
        return Parcel(name, sealed.digest, priority, body)
