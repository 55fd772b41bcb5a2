"""Estimates the edge's energy from its idle power, its busy power and its busy time."""


class BusyMeter:
    """Energy of a computer with two powers in watts: idle, and busy while any job is under way.

    What it draws at rest counts if it is `dedicated` to this stack. A job counts from its issue to
    its end, so that waiting for the disk counts as busy: the figure is a model's upper bound, not a
    measurement.
    """

    def __init__(self, idle_w: float, busy_w: float, dedicated: bool) -> None:
        self._rest_w, self._busy_w = idle_w if dedicated else 0.0, busy_w
        self._start_ns = 0
        self._since_ns = 0
        self._busy_ns = 0
        self._jobs = 0

    def start(self, now_ns: int) -> None:
        self._start_ns = now_ns

    def begin(self, now_ns: int) -> None:
        """Notes that a job was issued."""
        if not self._jobs:
            self._since_ns = now_ns
        self._jobs += 1

    def end(self, now_ns: int) -> None:
        """Notes that a job is done."""
        self._jobs -= 1
        if not self._jobs:
            self._busy_ns += now_ns - self._since_ns

    def busy_s(self, now_ns: int) -> float:
        """Returns the seconds with a job under way, from the start until `now_ns`."""
        return (self._busy_ns + (now_ns - self._since_ns if self._jobs else 0)) / 1e9

    def energy_j(self, now_ns: int) -> float:
        """Returns the joules from the start until `now_ns`."""
        up_s = (now_ns - self._start_ns) / 1e9
        return self._rest_w * up_s + (self._busy_w - self._rest_w) * self.busy_s(now_ns)
