"""Ranks segments by how much they are expected to teach, for an uplink that is narrow."""

from enum import IntEnum

from tierloop.contract.codec import Codec
from tierloop.contract.errors import WireError
from tierloop.contract.ledger import Refusal
from tierloop.contract.messages import Sealed, Segment

UNSURE_RAD = 0.05
"""Successive answers that disagree by more than this, about the same instant, mean an unsure
policy (assumed; in the sorting cell an untrained one shows about 0.3, a trained one 0.02)."""


class Priority(IntEnum):
    """How much a segment is expected to teach; the names are those of the counters."""

    ROUTINE = 0
    UNSURE = 1
    REFUSED = 2
    FAILED = 3


EXPECTED = Refusal.PREMISE.name.lower()
"""A refusal that comes with every long delay: it tells nothing of a segment's worth."""


class Triage:
    """Ranks sealed segments. Use it from one thread: it keeps a codec."""

    def __init__(self) -> None:
        self._codec = Codec()

    def weigh(self, sealed: Sealed) -> Priority:
        """Returns a sealed segment's priority. Raises WireError unless it holds that segment."""
        segment = self._codec.decode(sealed.body.data)
        if not isinstance(segment, Segment):
            raise WireError("not_a_segment")
        if (segment.device, segment.boot, segment.seq) != (sealed.device, sealed.boot, sealed.seq):
            raise WireError("wrong_name")
        if any(not outcome.success for outcome in segment.outcomes):
            return Priority.FAILED
        if any(n for reason, n in segment.refused.items() if reason != EXPECTED):
            return Priority.REFUSED
        return Priority.UNSURE if segment.seam_rad > UNSURE_RAD else Priority.ROUTINE
