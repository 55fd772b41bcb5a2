"""A model of one direction of a link: delays, loses, repeats or reorders each message.

A message waits for the link (bandwidth, bounded queue), may be lost (two states, in bursts), and
travels for the fixed delay plus that of its slot plus jitter. Order is kept unless the link
reorders: what would overtake waits. Jitter and losses are processes in time and not in messages:
link/jitter.py; Gilbert and Elliott's two states in continuous time, of which the bad one loses
whatever is put on the link while it lasts.
"""

import math
from collections import Counter
from typing import NamedTuple

import msgspec
import numpy as np

from tierloop.contract.clock import NS_PER_MS
from tierloop.contract.counters import CARRIED, DUPLICATED, LOST, OFFERED, member
from tierloop.link.direction import DirectionSpec
from tierloop.link.jitter import Jitter
from tierloop.link.slots import Slots

_DRAWS = 256
_LONG_AGO_NS = -(2**63)
LONGEST_NS = 2**62
"""A message takes no longer, however narrow the link: more than a century."""


class Conditions(msgspec.Struct):
    """What is wrong with a link at the moment, on top of its nature."""

    cut: bool = False
    """Nothing passes."""
    loss: float = 0.0
    """A share lost besides, each message for itself; 1 loses all."""
    extra_delay_ns: int = 0
    bandwidth_mbps: float = 0.0
    """A cap; 0 means none."""
    duplicate: float = 0.0
    corrupt: float = 0.0
    """The share that arrives with a bit flipped."""


class Arrival(NamedTuple):
    at_ns: int
    corrupt: bool


class LinkModel:
    """One direction, of which every value is given. All randomness comes from `rng`; `now_ns` must
    not go back.

    `offered` counts the messages put on it; `dropped` those lost, by reason: cut, outage, loss,
    queue; `carried` those that were not, `duplicated` their second copies.
    """

    def __init__(self, spec: DirectionSpec, rng: np.random.Generator) -> None:
        self.spec = spec
        self.conditions = Conditions()
        self.dropped: Counter[str] = Counter()
        self.offered = self.carried = 0
        self.duplicated = 0
        self._rng = rng
        self._uniform: list[float] = []
        self._delay_ns = _ns(spec.delay_ms)
        law = spec.jitter()
        self._jitter = law and Jitter(law, rng)
        self._slots = None
        if spec.slot_s:
            most_ms, stall_ms = spec.slot_ms or 0.0, spec.slot_stall_ms or 0.0
            self._slots = Slots(spec.slot_s, most_ms, stall_ms, self._draw)
        self._loss = spec.loss or 0.0
        # Good and bad states alternate so that bad lasts burst_ms and takes `loss` of the time.
        self._mixing_ns = _ns(spec.burst_ms) * (1 - self._loss)
        self._bad = False
        self._looked_ns = _LONG_AGO_NS
        self._mbps = spec.bandwidth_mbps or 0.0
        self._queue_ns = _ns(spec.queue_ms)
        self._free_ns = 0
        self._duplicate = spec.duplicate or 0.0
        self._reorder = spec.reorder or 0.0
        self._late_ns = _ns(spec.reorder_ms)
        self._outage_ns = _ns(spec.outage_s) * 1000
        self._every_ns = _ns(spec.outage_every_s) * 1000
        self._out_ns = -1
        self._last_ns = 0

    def carry(self, now_ns: int, size_bytes: int) -> list[Arrival]:
        """When a message put on the link arrives: never, once or twice."""
        now = self.conditions
        self.offered += 1
        if now.cut:
            return self._drop("cut")
        if self._every_ns and self._out(now_ns):
            return self._drop("outage")
        ready_ns = now_ns
        mbps = self._mbps
        if now.bandwidth_mbps:
            mbps = min(mbps, now.bandwidth_mbps) if mbps else now.bandwidth_mbps
        if mbps:
            start_ns = max(now_ns, self._free_ns)
            if start_ns - now_ns > self._queue_ns:
                return self._drop("queue")
            takes_ns = int(min(size_bytes * 8000 / mbps, LONGEST_NS))
            ready_ns = self._free_ns = start_ns + takes_ns
        if self._loss and self._lost(now_ns):
            return self._drop("loss")
        if now.loss and self._draw() < now.loss:
            return self._drop("loss")
        self.carried += 1
        arrivals = [self._arrive(ready_ns, now)]
        twice = 1 - (1 - self._duplicate) * (1 - now.duplicate)
        if twice and self._draw() < twice:
            self.duplicated += 1
            arrivals.append(self._arrive(ready_ns, now))
        return arrivals

    def spoil(self, data: bytes) -> bytes:
        """The same bytes with one bit flipped."""
        if not data:
            return data
        at = int(self._draw() * 8 * len(data))
        spoiled = bytearray(data)
        spoiled[at >> 3] ^= 1 << (at & 7)
        return bytes(spoiled)

    def counters(self, way: str) -> dict[str, float]:
        """What became of the messages; `way` is up or down."""
        counts = {
            member(OFFERED, way): float(self.offered),
            member(CARRIED, way): float(self.carried),
            member(DUPLICATED, way): float(self.duplicated),
        }
        return counts | {member(LOST, way, reason): float(n) for reason, n in self.dropped.items()}

    def _arrive(self, ready_ns: int, now: Conditions) -> Arrival:
        slot_ns = jitter_ns = 0
        if self._slots:
            ready_ns, slot_ns = self._slots.leave(ready_ns)
        if self._jitter:
            jitter_ns = self._jitter.wait_ns(ready_ns)
        at_ns = ready_ns + self._delay_ns + now.extra_delay_ns + slot_ns + jitter_ns
        corrupt = now.corrupt > 0 and self._draw() < now.corrupt
        if self._reorder and self._draw() < self._reorder:
            return Arrival(at_ns + self._late_ns, corrupt)
        self._last_ns = at_ns = max(at_ns, self._last_ns)
        return Arrival(at_ns, corrupt)

    def _lost(self, now_ns: int) -> bool:
        """The state of the two-state chain at `now_ns`, given the state last looked at."""
        bad = self._loss
        if self._mixing_ns:
            memory = math.exp((self._looked_ns - now_ns) / self._mixing_ns)
            bad += (self._bad - bad) * memory
        self._looked_ns = now_ns
        self._bad = self._draw() < bad
        return self._bad

    def _out(self, now_ns: int) -> bool:
        """Whether there is an outage; the time to the first counts from the first message."""
        if self._out_ns < 0:
            self._out_ns = now_ns + self._gap_ns()
        while self._out_ns + self._outage_ns <= now_ns:
            self._out_ns += self._outage_ns + self._gap_ns()
        return self._out_ns <= now_ns

    def _gap_ns(self) -> int:
        return int(self._every_ns * -math.log(1 - self._draw()))

    def _drop(self, reason: str) -> list[Arrival]:
        self.dropped[reason] += 1
        return []

    def _draw(self) -> float:
        if not self._uniform:
            self._uniform = self._rng.random(_DRAWS).tolist()
        return self._uniform.pop()


def _ns(ms: float | None) -> int:
    return round((ms or 0.0) * NS_PER_MS)
