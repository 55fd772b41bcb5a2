"""Collects experience into segments and keeps each until the edge has it on disk."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tierloop.contract.bounds import cut
from tierloop.contract.codec import Codec, digest64
from tierloop.contract.messages import OUTCOMES_MAX, Outcome, Sealed, Segment, Stored, Welcome
from tierloop.contract.specs import FloatArray, PolicySpec, Vector

RESEND_NS = 3_000_000_000
"""How long an acknowledgement may take before everything not acknowledged is sent again."""
SENDS_PER_DECISION = 4
SEAM_MAX_RAD = 1e3
"""Chunks that disagree by more disagree no worse; what is added up stays a number."""


class Place(NamedTuple):
    """Where a decision is recorded: the segment's number, and the row in it."""

    segment: int
    row: int


class Uplink:
    """Fills and seals segments; keeps at most `backlog` of them until `Stored` comes."""

    def __init__(
        self, device: str, boot: int, body: str, software: str, spec: PolicySpec,
        decisions: int, backlog: int,
    ) -> None:  # fmt: skip
        self._codec = Codec()
        self._device, self._boot = device, boot
        self._body, self._software, self._spec = cut(body), cut(software), spec.digest
        self._size, self._backlog_max = decisions, backlog
        self._captured = np.zeros(decisions, np.int64)
        self._features = np.zeros((decisions, spec.observation.size), np.float32)
        self._applied = np.zeros((decisions, spec.action.size), np.float32)
        self._ages = np.zeros(decisions, np.int64)
        self._versions = np.zeros(decisions, np.int64)
        self._seam_rad = 0.0
        self._filled = 0
        self._outcomes: list[Outcome] = []
        self._refused: Counter[str] = Counter()
        self._seq = 0
        self._backlog: dict[int, Sealed] = {}
        self._resend_ns: dict[int, int] = {}
        self._sent_end = 0
        self.produced = 0
        self.acked = 0
        self.unsent_acks = 0
        """Acknowledgements of what was never sent: they are not believed."""
        self.shed = 0

    @property
    def waiting(self) -> int:
        """Number of sealed segments that are not acknowledged."""
        return len(self._backlog)

    def add(
        self, captured_ns: int, features: FloatArray, applied: Vector, age_ns: int, version: int,
        seam_rad: float,
    ) -> Place:  # fmt: skip
        """Adds one decision and returns its place; seals the segment when it is full."""
        i = self._filled
        place = Place(self._seq, i)
        self._captured[i], self._ages[i], self._versions[i] = captured_ns, age_ns, version
        self._features[i], self._applied[i] = features, applied
        self._seam_rad += min(seam_rad, SEAM_MAX_RAD)
        self._filled = i + 1
        if self._filled == self._size:
            self.seal()
        return place

    def judged(self, outcome: Outcome) -> None:
        """Adds an outcome; seals the segment when it can hold no more."""
        self._outcomes.append(outcome)
        if len(self._outcomes) == OUTCOMES_MAX:
            self.seal()

    def refused(self, reason: str) -> None:
        self._refused[reason] += 1

    def seal(self) -> None:
        """Seals the unfinished segment, if it holds anything."""
        n = self._filled
        if not n and not self._outcomes:
            return
        segment = Segment(
            device=self._device, boot=self._boot, seq=self._seq, body=self._body,
            software=self._software, spec=self._spec, captured_ns=self._captured[:n],
            features=self._features[:n], applied=self._applied[:n], age_ns=self._ages[:n],
            versions=self._versions[:n], seam_rad=self._seam_rad / max(n, 1),
            refused=dict(self._refused), outcomes=tuple(self._outcomes),
        )  # fmt: skip
        body = self._codec.encode(segment)
        self._backlog[self._seq] = Sealed(
            device=self._device, boot=self._boot, seq=self._seq, digest=digest64(body),
            body=np.frombuffer(body, np.uint8),
        )  # fmt: skip
        self._seq += 1
        self.produced += 1
        self._filled, self._seam_rad = 0, 0.0
        self._outcomes.clear()
        self._refused.clear()
        if len(self._backlog) > self._backlog_max:
            oldest = next(iter(self._backlog))
            del self._backlog[oldest]
            self._resend_ns.pop(oldest, None)
            self.shed += 1

    def due(self, now_ns: int) -> list[Sealed]:
        """Returns segments to send now: never sent, or not acknowledged for RESEND_NS."""
        ready: list[Sealed] = []
        for seq, sealed in self._backlog.items():
            if now_ns >= self._resend_ns.get(seq, now_ns):
                ready.append(sealed)
                self._sent_end = max(self._sent_end, seq + 1)
                self._resend_ns[seq] = now_ns + RESEND_NS
                if len(ready) == SENDS_PER_DECISION:
                    break
        return ready

    def resume(self, welcome: Welcome) -> None:
        """Begins a session: drops the segments that the edge has; the rest is sent again."""
        if self._sent(welcome.acked):
            self._drop(lambda seq: seq < welcome.acked)
        self._resend_ns.clear()

    def stored(self, message: Stored) -> None:
        """Drops the segments that the edge has committed."""
        if message.device == self._device and message.boot == self._boot:
            also = set(message.also)
            if self._sent(max(message.below, *(seq + 1 for seq in also), 0)):
                self._drop(lambda seq: seq < message.below or seq in also)

    def _sent(self, end: int) -> bool:
        """Whether all below `end` was sent, so that it may be acknowledged."""
        if end > self._sent_end:
            self.unsent_acks += 1
        return end <= self._sent_end

    def _drop(self, has: Callable[[int], bool]) -> None:
        for seq in [s for s in self._backlog if has(s)]:
            del self._backlog[seq]
            self._resend_ns.pop(seq, None)
            self.acked += 1
