"""The [edge] table of a deployment file, checked."""

import msgspec

BATCH_MAX, OUTBOX_MB_MAX = 4096, 1e6
"""Beyond these no host of this stack has the memory or the disk."""


class EdgeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[edge]` table."""

    batch_max: int = 64
    """Observations in one batch at most."""
    batch_window_ms: float = 0.0
    """How long a batch may wait for company; 0 serves at once whatever is there."""
    deadline_ms: float = 50.0
    """An observation that has waited here longer than this is dropped and counted."""
    uplink_bytes_per_s: float = 0.0
    """Experience sent up at most this fast, what teaches most first; 0 means no limit."""
    outbox_mb: float = 256.0
    """Experience kept on disk while the cloud is away; beyond it the least telling is dropped."""
    hardware: str = "orin-nx"
    """The edge's computer: a shipped profile's name, or a file relative to this one."""
    dedicated: bool = False
    """Whether this computer is there for this stack alone: then its power at rest counts, too."""
    idle_w: float | None = None
    """The computer at rest; by its hardware's profile if not said."""
    busy_w: float | None = None
    """The computer busy; by its hardware's profile if not said."""

    def __post_init__(self) -> None:
        if self.batch_max < 1 or self.deadline_ms <= 0 or self.outbox_mb <= 0:
            raise ValueError("batch_max, deadline_ms and outbox_mb must be positive")
        if self.batch_max > BATCH_MAX or self.outbox_mb > OUTBOX_MB_MAX:
            raise ValueError(f"batch_max at most {BATCH_MAX} and outbox_mb {OUTBOX_MB_MAX:g}")
        if self.batch_window_ms < 0 or self.uplink_bytes_per_s < 0:
            raise ValueError("batch_window_ms and uplink_bytes_per_s must not be negative")
