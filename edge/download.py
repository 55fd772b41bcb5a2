"""Downloads an offered policy part by part; a state machine without clock and socket."""

import math

from tierloop.contract.messages import Fetch, Offer, Part
from tierloop.policy.artefact import BLOB_BYTES_MAX, ArtefactError, digest

PART_BYTES = 64 * 1024
"""Asked for at a time; with its header it fits the Part stream's frame."""

WINDOW = 8
"""Parts under way at once."""


class Download:
    """Collects the bytes of one offer; parts lost with a session are asked for again.

    Raises ArtefactError with reason oversize for an offer past the cap, empty for one of nothing.
    """

    def __init__(self, offer: Offer) -> None:
        if offer.size > BLOB_BYTES_MAX:
            raise ArtefactError("oversize", f"{offer.size} bytes, at most {BLOB_BYTES_MAX}")
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
        """Returns the requests to send now, so that WINDOW parts are under way."""
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
        """Keeps a part. Returns False if it is incomplete or was not missing."""
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
        """Begins a session: the next `fetches` asks again for all that is missing."""
        self._asked.clear()

    def blob(self) -> bytes:
        """Returns the artefact's bytes. Raises ArtefactError (hash) if the digest is another."""
        blob = bytes(self._data)
        if digest(blob) != self.offer.digest:
            raise ArtefactError("hash", "the bytes fetched are not what was offered")
        return blob

    def _length(self, offset: int) -> int:
        return min(PART_BYTES, self.offer.size - offset)
