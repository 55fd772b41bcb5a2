"""How the time of an inference goes with the network: a roofline, and what it was fitted on."""

import msgspec

from tierloop.contract.policy import Work

OPS_PER_US = 1e3
"""Operations a microsecond of one Gop/s; bytes a microsecond of one GB/s."""


class Roofline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time of a batch, us: call_us + row_us * rows + the longer of computing and reading weights.

    Computing takes operations * rows / gops_s; reading takes the weights once, at gb_s. See
    Williams, Waterman, Patterson (2009), "Roofline: an insightful visual performance model".
    """

    ops: int
    """Operations for one observation of the network that the curve beside this is of."""
    weight_bytes: int
    """Weights of that network."""
    call_us: float
    """What a call takes whatever the network."""
    row_us: float
    """What an observation takes whatever the network."""
    gops_s: float
    """Operations that are done, 1e9 a second."""
    gb_s: float
    """Bytes of weights that are read, 1e9 a second."""
    networks: tuple[str, ...]
    """Hidden widths of the networks that it was fitted on."""
    ops_range: tuple[int, int]
    """The fewest and the most operations for one observation among them."""
    rows_range: tuple[int, int]
    """The smallest and the largest batch that it was fitted on."""
    engine: str
    """What answered."""
    host: str
    """The machine that was measured."""
    error_median: float
    """Of the times it was fitted on, relative to what was measured: half are closer than this."""
    error_worst: float
    """All of them are closer than this."""
    held_out: str
    """Hidden widths of a network that was measured but not fitted on."""
    error_held_out: float
    """The worst relative error of that network's times."""

    def __post_init__(self) -> None:
        if min(self.ops, self.weight_bytes) < 1:
            raise ValueError("ops and weight_bytes must be at least 1")
        if min(self.call_us, self.row_us) < 0 or self.call_us + self.row_us <= 0:
            raise ValueError("call_us and row_us must not be negative, nor both 0")
        if min(self.gops_s, self.gb_s) <= 0:
            raise ValueError("gops_s and gb_s must be positive")
        for name in ("ops_range", "rows_range"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise ValueError(f"{name} must be two numbers of at least 1 in ascending order")
        if not self.networks:
            raise ValueError("networks must name at least one network")
        if min(self.error_median, self.error_worst, self.error_held_out) < 0:
            raise ValueError("errors must not be negative")

    def us(self, work: Work, rows: int) -> float:
        """The time of a batch of `rows`, microseconds."""
        compute_us = work.ops * rows / (self.gops_s * OPS_PER_US)
        read_us = work.weight_bytes / (self.gb_s * OPS_PER_US)
        return self.call_us + self.row_us * rows + max(compute_us, read_us)

    def ratio(self, work: Work, rows: int) -> float:
        """How many times as long as the network of the curve a network of this work takes."""
        return self.us(work, rows) / self.us(Work(self.ops, self.weight_bytes), rows)

    def outside(self, work: Work, rows: int) -> str:
        """What of this batch it was not fitted on, in words; "" where all was."""
        least, most = self.ops_range
        if not least <= work.ops <= most:
            return f"a network of {work.ops:,} operations, fitted on {least:,} to {most:,}"
        largest = self.rows_range[1]
        if rows > largest:
            return f"batches of more than {largest} observations"
        return ""
