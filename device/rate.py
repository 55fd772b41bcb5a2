"""Keeps a fixed rate by absolute deadlines, and measures how late each tick is."""


class Rate:
    """Deadlines `period_ns` apart. A missed deadline is skipped and counted, never made up for."""

    def __init__(self, period_ns: int, start_ns: int) -> None:
        self.period_ns = period_ns
        self.deadline_ns = start_ns + period_ns
        self.ticks = 0
        self.missed = 0

    def tick(self, now_ns: int) -> int:
        """Moves to the next deadline. Returns how late the tick at `now_ns` is: ns, at least 0."""
        late_ns = max(0, now_ns - self.deadline_ns)
        skipped = late_ns // self.period_ns
        self.ticks += 1
        self.missed += skipped
        self.deadline_ns += (skipped + 1) * self.period_ns
        return late_ns
