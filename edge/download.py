"""A download: an offered policy fetched part by part, with no clock and no socket."""

import math

from tierloop.contract.messages import Fetch, Offer, Part
from tierloop.policy.artefact import MAX_BYTES, ArtefactError, digest

PART_BYTES = 64 * 1024
"""Asked for at a time; with its header it fits the Part stream's frame."""

WINDOW = 8
"""Parts under way at once."""


class Download:
    """Gathers the bytes of one offer; what a lost session had asked for is asked for again.

    Raises ArtefactError with reason oversize for an offer past the cap, empty for one of nothing.
    """

    def __init__(self, offer: Offer) -> None:
        if offer.size > MAX_BYTES:
            raise ArtefactError("oversize", f"{offer.size} bytes, at most {MAX_BYTES}")
        if offer.size < 1:
            raise ArtefactError("empty", f"{offer.size} bytes")
        self.offer = offer
        self._data = bytearray(offer.size)
        parts = math.ceil(offer.size / PART_BYTES)
        self._missing = dict.fromkeys(i * PART_BYTES for i in range(parts))
        self._asked: set[int] = set()

    @property
    def complete(self) -> bool:
        return not self._missing

    def fetches(self) -> list[Fetch]:
        """What to ask for now, so that `WINDOW` parts are under way."""
        fetches: list[Fetch] = []
        for offset in self._missing:
            if len(self._asked) == WINDOW:
                break
            if offset not in self._asked:
                self._asked.add(offset)
                length = self._length(offset)
                fetches.append(Fetch(digest=self.offer.digest, offset=offset, length=length))
        return fetches

    def take(self, part: Part) -> bool:
        """Keeps a part; False if it is not one that is missing, whole."""
        offset = part.offset
        if (
            part.digest != self.offer.digest
            or offset not in self._missing
            or len(part.data) != self._length(offset)
        ):
            return False
        self._data[offset : offset + len(part.data)] = part.data.data
        del self._missing[offset]
        self._asked.discard(offset)
        return True

    def resume(self) -> None:
        """Nothing is under way any more; the next `fetches` asks for what is still missing."""
        self._asked.clear()

    def blob(self) -> bytes:
        """The bytes offered. Raises ArtefactError (hash) if they are not what the digest names."""
        blob = bytes(self._data)
        if digest(blob) != self.offer.digest:
            raise ArtefactError("hash", "the bytes fetched are not what was offered")
        return blob

    def _length(self, offset: int) -> int:
        return min(PART_BYTES, self.offer.size - offset)
