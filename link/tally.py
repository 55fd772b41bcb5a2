"""Counts what a link carried and what it dropped, by reason: sent + dropped = offered."""

from collections import Counter

from tierloop.contract.counters import (
    FRAMES_REFUSED,
    MESSAGES_DROPPED,
    MESSAGES_RECEIVED,
    MESSAGES_SENT,
    member,
)
from tierloop.contract.messages import Message
from tierloop.contract.streams import STREAM_NAME

_FRAMES = "frames"


class Tally:
    """Counts messages by stream, and frames that never became a message."""

    def __init__(self) -> None:
        self.sent: Counter[type[Message]] = Counter()
        self.received: Counter[type[Message]] = Counter()
        self.dropped: Counter[tuple[str, str]] = Counter()

    def drop(self, message: type[Message], reason: str) -> None:
        self.dropped[STREAM_NAME[message], reason] += 1

    def refuse(self, reason: str) -> None:
        """Frames that never became a message."""
        self.dropped[_FRAMES, reason] += 1

    def counters(self) -> dict[str, float]:
        counts: dict[str, float] = {}
        for family, counter in ((MESSAGES_SENT, self.sent), (MESSAGES_RECEIVED, self.received)):
            counts |= {member(family, STREAM_NAME[m]): float(n) for m, n in counter.items()}
        for (stream, reason), n in self.dropped.items():
            if stream == _FRAMES:
                counts[member(FRAMES_REFUSED, reason)] = float(n)
            else:
                counts[member(MESSAGES_DROPPED, stream, reason)] = float(n)
        return counts
