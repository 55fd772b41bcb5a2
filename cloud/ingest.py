"""Takes in sealed segments: stores each exactly once, or refuses it for good and says why.

What can never fit (bytes that are not what was sealed, another body's spec) is acknowledged as
well: its sender has nothing better to send, and must not be held up by it. Its name, digest and
reason are kept; it is counted and reported, never trained on. What has no name that fits, or
goes by that of another segment, is only counted: there is nothing to acknowledge. What comes from
none of the deployment's robots is refused before it is looked into.
"""

import zlib
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from tierloop.cloud.plausible import implausible
from tierloop.cloud.store import Committed, Datum, Misfit, Store
from tierloop.contract.codec import Codec, digest64
from tierloop.contract.counters import REFUSED, member
from tierloop.contract.errors import SpecError, WireError
from tierloop.contract.messages import ALSO_MAX, Sealed, Segment, SegmentId, Stored
from tierloop.contract.specs import PolicySpec
from tierloop.contract.streams import MAX_BYTES

BODY_MAX = MAX_BYTES[Sealed]
"""A body is never inflated past this: what a device sealed had to fit a frame."""

BOOTS_MAX = 4096
"""Boots of which it is remembered up to where all is stored; of others the store is asked anew."""


class Misfitting(Exception):
    """A sealed segment that can never be stored; `reason` is a short word fit for a counter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Nameless(Exception):
    """A sealed segment without a name of its own: it is counted, and nothing is acknowledged."""


class Ingested(NamedTuple):
    """What became of a batch: acknowledgements, counts by name, sentences for the record."""

    acks: tuple[Stored, ...]
    counts: dict[str, int]
    notes: tuple[tuple[str, str], ...]


class Ingest:
    """Opens, checks and stores batches. It belongs to the store's lane, and needs no lock."""

    def __init__(self, store: Store, spec: PolicySpec, robots: Collection[str] = ()) -> None:
        """Takes in what comes from `robots`."""
        self._store, self._robots = store, robots
        self._spec = spec
        self._spec_digest = spec.digest
        self._codec = Codec()
        self._below: dict[tuple[str, int], int] = {}

    def take(self, batch: Sequence[Sealed], now_ns: int) -> Ingested:
        """Stores a batch in one commit. Raises sqlite3.Error; then nothing is acknowledged."""
        data, misfits, nameless = [], [], 0
        for sealed in batch:
            key = SegmentId(sealed.device, sealed.boot, sealed.seq)
            try:
                data.append(self._datum(key, sealed, now_ns))
            except Nameless:
                nameless += 1
            except Misfitting as misfit:
                misfits.append(Misfit(key, sealed.digest, now_ns, misfit.reason))
        committed = self._store.commit(data, misfits)
        acks = self._acks([*(datum.key for datum in data), *(misfit.key for misfit in misfits)])
        return Ingested(acks, *_account(committed, nameless))

    def keep(self, segments: Sequence[Segment], now_ns: int) -> None:
        """Stores segments of the twin. Raises sqlite3.Error."""
        data = []
        for segment in segments:
            body = self._codec.encode(segment)
            data.append(_datum(segment, digest64(body), body, now_ns, "twin"))
        self._store.commit(data)

    def _datum(self, key: SegmentId, sealed: Sealed, now_ns: int) -> Datum:
        if sealed.device not in self._robots:
            raise Misfitting("stranger")
        body = inflate(sealed) if sealed.deflated else sealed.body.tobytes()
        if digest64(body) != sealed.digest:
            raise Misfitting("digest")
        segment = open_body(self._codec, body)
        if (segment.device, segment.boot, segment.seq) != key:
            raise Nameless
        check(segment, self._spec, self._spec_digest)
        return _datum(segment, sealed.digest, body, now_ns, "lived")

    def _acks(self, keys: Sequence[SegmentId]) -> tuple[Stored, ...]:
        numbers: dict[tuple[str, int], set[int]] = {}
        for device, boot, seq in keys:
            numbers.setdefault((device, boot), set()).add(seq)
        acks = []
        for (device, boot), seqs in numbers.items():
            below = self._store.contiguous(device, boot, self._below.pop((device, boot), 0))
            self._below[device, boot] = below
            above = sorted(seq for seq in seqs if seq >= below)
            for at in range(0, len(above) or 1, ALSO_MAX):
                also = tuple(above[at : at + ALSO_MAX])
                acks.append(Stored(device=device, boot=boot, below=below, also=also))
        while len(self._below) > BOOTS_MAX:
            del self._below[next(iter(self._below))]
        return tuple(acks)


def open_body(codec: Codec, body: bytes) -> Segment:
    """The segment in a body. Raises Misfitting."""
    try:
        message = codec.decode(body)
    except WireError as error:
        raise Misfitting(error.reason) from None
    if not isinstance(message, Segment):
        raise Misfitting("not_a_segment")
    return message


def inflate(sealed: Sealed) -> bytes:
    """The body as the device sealed it, at most BODY_MAX bytes. Raises Misfitting."""
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(sealed.body.data, BODY_MAX)
    except zlib.error:
        raise Misfitting("deflate") from None
    if inflater.unconsumed_tail:
        raise Misfitting("oversize")
    if not inflater.eof or inflater.unused_data:
        raise Misfitting("deflate")
    return body


def check(segment: Segment, spec: PolicySpec, digest: str) -> None:
    """Raises Misfitting unless every element of the segment fits this spec."""
    if segment.spec != digest:
        raise Misfitting("spec")
    rows = len(segment.features)
    try:
        spec.observation.validate(segment.features, rows)
        spec.action.validate(segment.applied, rows)
    except SpecError as error:
        finite = "finite" in str(error)
        raise Misfitting("not_finite" if finite else "shape") from None
    if reason := implausible(segment, spec):
        raise Misfitting(reason)


def _datum(segment: Segment, digest: int, body: bytes, now_ns: int, source: str) -> Datum:
    versions = tuple(int(v) for v in np.unique(segment.versions))
    key = SegmentId(segment.device, segment.boot, segment.seq)
    return Datum(key, digest, now_ns, versions, segment.software, segment.spec, body, source)


def _account(
    committed: Committed, nameless: int
) -> tuple[dict[str, int], tuple[tuple[str, str], ...]]:
    counts = Counter(
        {
            "ingested": committed.fresh,
            "duplicate": committed.duplicate,
            "altered": len(committed.altered),
            "refused.name": nameless,
        }
    )
    notes = [("altered", f"{key} came again with other bytes") for key in committed.altered]
    for misfit in committed.refused:
        counts[member(REFUSED, misfit.reason)] += 1
        notes.append(("segment_refused", f"{misfit.key}: {misfit.reason}"))
    return {name: n for name, n in counts.items() if n}, tuple(notes)
