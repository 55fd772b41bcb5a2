"""Keeps a period by absolute deadlines, and judges how well it was kept."""


class Rate:
    """Deadlines `period_ns` apart. A missed one is skipped and counted, never replayed."""

    def __init__(self, period_ns: int, start_ns: int) -> None:
        self.period_ns = period_ns
        self.deadline_ns = start_ns + period_ns
        self.ticks = 0
        self.missed = 0

    def tick(self, now_ns: int) -> int:
        """Takes the deadline as met at `now_ns`; returns the lateness in ns, never below 0."""
        late_ns = max(0, now_ns - self.deadline_ns)
        skipped = late_ns // self.period_ns
        self.ticks += 1
        self.missed += skipped
        self.deadline_ns += (skipped + 1) * self.period_ns
        return late_ns
