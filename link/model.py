"""A model of one direction of a link: delays, loses, repeats or reorders each message.

A message waits for the link (bandwidth, bounded queue), may be lost (two states, in bursts), and
travels for the fixed delay plus jitter. Jitter is lognormal. Order is kept unless the link
reorders: what would overtake waits, as behind a retransmission. Losses follow the model of
Gilbert and Elliott in continuous time, so that a burst lasts milliseconds and not messages; it
loses whatever is put on the link while it lasts.
"""

import math
from collections import Counter
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from tierloop.contract.clock import NS_PER_MS
from tierloop.contract.counters import CARRIED, DUPLICATED, LOST, OFFERED, member

Preset = Literal["none", "ethernet", "wifi", "5g", "lte", "satellite"]

_DRAWS = 256
_LONG_AGO_NS = -(2**63)
LONGEST_NS = 2**62
"""A message takes no longer, however narrow the link: more than a century."""


class LinkSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A link, the same both ways. What is not given is as in the preset."""

    preset: Preset = "none"
    """Where the values not given come from; none is a link that is always at once."""
    delay_ms: float | None = None
    """One way, without waiting and jitter."""
    jitter_ms: float | None = None
    """The median of what is added to the delay; its distribution is lognormal."""
    jitter_shape: float | None = None
    """Standard deviation of the logarithm of the jitter: 0 adds the same to all, 1 has a tail."""
    loss: float | None = None
    """The share of messages lost, from 0 to below 1."""
    burst_ms: float | None = None
    """How long a burst of losses lasts on average; 0 makes each loss independent."""
    bandwidth_mbps: float | None = None
    """Megabits a second; 0 means without limit."""
    queue_ms: float | None = None
    """A message that would wait longer than this for the link is dropped."""
    duplicate: float | None = None
    """The share of messages that arrive twice."""
    reorder: float | None = None
    """The share of messages that are overtaken."""
    reorder_ms: float | None = None
    """How much later an overtaken message arrives."""
    outage_every_s: float | None = None
    """Mean time between outages, exponential; 0 means never."""
    outage_s: float | None = None
    """How long an outage lasts; nothing put on the link meanwhile arrives."""
    source: str = ""
    """Where the values come from."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float | int) and not (0 <= value < math.inf):
                raise ValueError(f"{name} must be a number of 0 or more, got {value}")
        for name in ("loss", "duplicate", "reorder"):
            if (getattr(self, name) or 0) >= 1:
                raise ValueError(f"{name} must lie between 0 and below 1")
        if 0 < (self.outage_every_s or 1) < 1e-3:
            raise ValueError("outage_every_s must be 0 or at least 0.001")
        if (self.jitter_shape or 0) > 4:
            raise ValueError("jitter_shape must lie between 0 and 4")

    def resolved(self) -> "LinkSpec":
        """The same with every value filled in from the preset."""
        base = PRESETS[self.preset]
        given = {n: v for n in self.__struct_fields__ if (v := getattr(self, n)) not in (None, "")}
        own = [name for name in given if name not in ("preset", "source")]
        source = base.source + (f"; the deployment's own: {', '.join(own)}" if own else "")
        return msgspec.structs.replace(base, **({"source": source} | given))

    @property
    def ideal(self) -> bool:
        """Whether every message arrives at once."""
        return all(
            not getattr(self.resolved(), name)
            for name in ("delay_ms", "jitter_ms", "loss", "bandwidth_mbps", "duplicate", "reorder",
                         "outage_every_s")
        )  # fmt: skip


NOTHING = LinkSpec(
    delay_ms=0, jitter_ms=0, jitter_shape=0, loss=0, burst_ms=0, bandwidth_mbps=0, queue_ms=200,
    duplicate=0, reorder=0, reorder_ms=0, outage_every_s=0, outage_s=0, source="no link at all",
)  # fmt: skip


def _preset(name: Preset, source: str, **values: float) -> LinkSpec:
    return msgspec.structs.replace(NOTHING, preset=name, source=source, **values)


PRESETS: dict[str, LinkSpec] = {
    "none": NOTHING,
    "ethernet": _preset(
        "ethernet",
        "assumed: 0.1 ms one way through two switches at 1 Gbit/s, no loss",
        delay_ms=0.1, jitter_ms=0.02, jitter_shape=0.5, bandwidth_mbps=1000,
    ),
    "wifi": _preset(
        "wifi",
        "measured: hop latency of a campus p50 3, p90 20 ms (Sui et al., MobiSys 2016, "
        "doi 10.1145/2906388.2906393), half of it each way; assumed: loss, bursts, 50 Mbit/s",
        delay_ms=0.5, jitter_ms=1.0, jitter_shape=1.6, loss=0.005, burst_ms=30, bandwidth_mbps=50,
    ),
    "5g": _preset(
        "5g",
        "measured: campus network, 95 % of one-way delays 4 to 10 ms (Rischke et al., IEEE Access "
        "2021, doi 10.1109/ACCESS.2021.3108423); assumed: loss, bursts, 50 Mbit/s up",
        delay_ms=4.0, jitter_ms=2.0, jitter_shape=0.56, loss=0.0005, burst_ms=50, bandwidth_mbps=50,
    ),
    "lte": _preset(
        "lte",
        "measured: 6 Mbit/s up (Huang et al., MobiSys 2012), round trips that do not reliably "
        "stay below 50 ms (CMU-CS-22-115); assumed: jitter's shape, loss, bursts, buffer",
        delay_ms=15.0, jitter_ms=10.0, jitter_shape=0.6, loss=0.002, burst_ms=100, bandwidth_mbps=6,
        queue_ms=1000,
    ),
    "satellite": _preset(
        "satellite",
        "measured: low orbit, round trip p25 40, p50 50, p75 60 ms, least 20 ms (Michel et al., "
        "IMC 2022), spikes of 75 to 140 ms every 15 s at handovers (arXiv 2601.08439), here "
        "outages; assumed: loss, 10 Mbit/s up, buffer",
        delay_ms=10.0, jitter_ms=15.0, jitter_shape=0.43, loss=0.005, burst_ms=100,
        bandwidth_mbps=10, queue_ms=500, outage_every_s=15.0, outage_s=0.1,
    ),
}  # fmt: skip


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
    """One direction. All randomness comes from `rng`; `now_ns` must not go back.

    `offered` counts the messages put on it; `dropped` those lost, by reason: cut, outage, loss,
    queue; `carried` those that were not, `duplicated` their second copies.
    """

    def __init__(self, spec: LinkSpec, rng: np.random.Generator) -> None:
        self.spec = spec = spec.resolved()
        self.conditions = Conditions()
        self.dropped: Counter[str] = Counter()
        self.offered = self.carried = 0
        self.duplicated = 0
        self._rng = rng
        self._uniform: list[float] = []
        self._normal: list[float] = []
        self._delay_ns = _ns(spec.delay_ms)
        self._jitter_ns = _ns(spec.jitter_ms)
        self._shape = spec.jitter_shape or 0.0
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
        at_ns = ready_ns + self._delay_ns + now.extra_delay_ns
        if self._jitter_ns:
            if not self._normal:
                self._normal = self._rng.standard_normal(_DRAWS).tolist()
            at_ns += int(self._jitter_ns * math.exp(self._shape * self._normal.pop()))
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
