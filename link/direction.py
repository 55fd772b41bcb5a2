"""What one direction of a link is like."""

import math

import msgspec

from tierloop.link.jitter import Law, law

_SHARES = ("loss", "duplicate", "reorder")


class DirectionSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One direction of a link. None is what is not given here."""

    delay_ms: float | None = None
    """One way, without waiting, slots and jitter."""
    jitter_p50_ms: float | None = None
    """What half of the messages take longer than the delay at most: the median of the jitter."""
    jitter_p90_ms: float | None = None
    """What nine of ten messages take longer at most. All points of the jitter 0: no jitter."""
    jitter_p99_ms: float | None = None
    """What 99 of 100 messages take longer at most."""
    jitter_max_ms: float | None = None
    """No jitter is longer; 0 means that it has no end."""
    slot_s: float | None = None
    """How long a slot lasts, after which the path is another one; 0 means no slots."""
    slot_ms: float | None = None
    """A slot adds its own constant to the delay, between 0 and this, all values alike."""
    slot_stall_ms: float | None = None
    """How long a slot lets nothing pass when it begins; what is sent meanwhile waits."""
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

    def __post_init__(self) -> None:
        for name in DirectionSpec.__struct_fields__:
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number of 0 or more, got {value}")
            if name in _SHARES and (value or 0) >= 1:
                raise ValueError(f"{name} must lie between 0 and below 1")
            if name in ("outage_every_s", "slot_s") and 0 < (value or 1) < 1e-3:
                raise ValueError(f"{name} must be 0 or at least 0.001")

    def over(self, base: "DirectionSpec") -> "DirectionSpec":
        """What is given here, and the rest as in `base`."""
        values = {
            name: getattr(base if getattr(self, name) is None else self, name)
            for name in DirectionSpec.__struct_fields__
        }
        return DirectionSpec(**values)

    def jitter(self) -> Law | None:
        """The distribution of the jitter, None without any; ValueError if there is no such."""
        p50_ms, p90_ms, p99_ms = (
            self.jitter_p50_ms or 0.0, self.jitter_p90_ms or 0.0, self.jitter_p99_ms or 0.0,
        )  # fmt: skip
        if not (p50_ms or p90_ms or p99_ms):
            return None
        return law(p50_ms, p90_ms, p99_ms, self.jitter_max_ms or 0.0)

    @property
    def ideal(self) -> bool:
        """Whether every message arrives at once."""
        return not (
            self.delay_ms or self.jitter() or self.slot_s or self.loss or self.bandwidth_mbps
            or self.duplicate or self.reorder or self.outage_every_s
        )  # fmt: skip
