"""Counts what a link carried and what it dropped, by reason: sent + dropped = offered."""

from collections import Counter

from tierloop.contract.messages import ALL, Message

STREAM_NAME: dict[type[Message], str] = {m: str(m.__struct_config__.tag) for m in ALL}


class Tally:
    """Counts messages by stream; `counters` names them link.<stream>.<what>."""

    def __init__(self) -> None:
        self.sent: Counter[type[Message]] = Counter()
        self.received: Counter[type[Message]] = Counter()
        self.dropped: Counter[tuple[str, str]] = Counter()

    def drop(self, message: type[Message], reason: str) -> None:
        self.dropped[STREAM_NAME[message], reason] += 1

    def refuse(self, reason: str) -> None:
        """Frames that never became a message."""
        self.dropped["frames", reason] += 1

    def counters(self) -> dict[str, float]:
        counts: dict[str, float] = {}
        for what, counter in (("sent", self.sent), ("received", self.received)):
            counts |= {f"link.{STREAM_NAME[m]}.{what}": float(n) for m, n in counter.items()}
        counts |= {f"link.{s}.dropped.{r}": float(n) for (s, r), n in self.dropped.items()}
        return counts
