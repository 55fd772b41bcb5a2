"""The [device] table of a deployment file, checked."""

from typing import Literal

import msgspec

from tierloop.device.energy import BatteryConfig, Energy

BLEND_MAX_MS = 500.0


class ComputePower(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Watts of a computer; what is not said is taken from its hardware's profile."""

    idle_w: float | None = None
    """Drawn while the computer does nothing."""
    busy_w: float | None = None
    """Drawn with one core's worth of work running all the time."""
    source: str = ""
    """Where the figures come from."""


class ActingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How late answers act (docs/latency-aware-acting.md)."""

    anchor: Literal["capture", "arrival"] = "capture"
    """Rows are due by the instant the answer is about, or replayed from its arrival (naive)."""
    predict: bool = True
    """Ask about the instant an answer will act, not the one of the capture."""
    blend_ms: float = 100.0
    """The joints fade over from the last chunk to the next as fast as their limits allow, for this
    long at most."""

    def __post_init__(self) -> None:
        if not 0 <= self.blend_ms <= BLEND_MAX_MS:
            raise ValueError(f"blend_ms must lie between 0 and {BLEND_MAX_MS:g}")


class DeviceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[device]` table."""

    hardware: str = "raspberry-pi-5"
    """The computer on the body: a shipped profile's name, or a file relative to this one."""
    compute: ComputePower = ComputePower()
    """Its watts."""
    energy: Energy = Energy()
    """What its other joules rest on (docs/energy.md)."""
    battery: BatteryConfig = BatteryConfig()
    """What it lives on."""
    realtime: bool = True
    """Ask the operating system for SCHED_FIFO and a fixed core; what it answers is recorded."""
    acting: ActingConfig = ActingConfig()
    """How late answers act."""
    hold_s: float = 1.0
    """How long the hold lasts, with nothing valid to do, before the controlled stop."""
    segment_decisions: int = 10
    """Decisions per experience segment."""
    backlog_segments: int = 512
    """Segments kept while the edge is away; beyond it the oldest is dropped and counted."""

    def __post_init__(self) -> None:
        if self.hold_s <= 0 or self.segment_decisions < 1 or self.backlog_segments < 1:
            raise ValueError("hold_s, segment_decisions and backlog_segments must be positive")
