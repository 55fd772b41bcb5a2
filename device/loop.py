"""The control loop without clock and sleep: what a tick does to node, body and link, in order."""

from collections.abc import Callable

from tierloop.contract.body import Body, Reading
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.effects import Effects, Send
from tierloop.contract.messages import Report
from tierloop.contract.specs import Vector
from tierloop.device.node import DeviceNode
from tierloop.device.rate import Rate
from tierloop.link.channel import Arrived, Client

HALT_NS = NS_PER_S // 2
"""How long a body may take to come to rest when the process is told to end."""
_STILL_RAD_S = 1e-2


class Loop:
    """Serves both clocks; its shell says when a tick is, and how long its work took."""

    def __init__(self, node: DeviceNode, body: Body, link: Client, start_ns: int) -> None:
        self._node, self._body, self._link = node, body, link
        self.rate = Rate(body.spec.control_period_ns, start_ns)
        # The body's time begins on the grid of the deadlines: began it at a late first tick, every
        # tick less late than that one would find the newest state not due yet.
        body.read(start_ns)
        self._lateness: list[int] = []
        self._report_ns = start_ns + NS_PER_S

    def arrived(self, now_ns: int) -> Arrived:
        """Looks after the session; returns what the link has brought."""
        for peer in self._link.lost(now_ns):
            self._node.on_lost(now_ns, peer)
        return self._link.poll(now_ns)

    def tick(self, now_ns: int, arrived: Arrived) -> tuple[Vector, Effects]:
        """Takes what arrived, reads, chooses, limits, writes.

        Returns the setpoint float64[A] and the effects to apply.
        """
        reading = self._begin(now_ns, arrived)
        setpoint, effects = self._node.on_tick(now_ns, reading)
        self._body.write(setpoint)
        return setpoint, effects

    def brake(self, now_ns: int, arrived: Arrived) -> tuple[Vector, bool]:
        """One tick of braking. Returns the setpoint float64[A], and whether the body is at rest."""
        reading, guard = self._begin(now_ns, arrived), self._node.guard
        setpoint, _ = guard.limit(None, reading.position_rad, reading.torque_nm)
        self._body.write(setpoint)
        still = not guard.moving and float(abs(reading.velocity_rad_s).max()) < _STILL_RAD_S
        return setpoint, still

    def _begin(self, now_ns: int, arrived: Arrived) -> Reading:
        self._lateness.append(self.rate.tick(now_ns))
        if arrived:
            self._node.offset = self._link.session.clock.best
        for peer, message in arrived:
            self._node.on_message(now_ns, peer, message)
        return self._body.read(now_ns)

    def apply(self, effects: Effects, clock: Callable[[], int]) -> None:
        """Sends the messages of `effects`; `clock` says when the link had taken each."""
        for effect in effects:
            if type(effect) is Send and self._link.send(effect.message):
                self._node.on_sent(clock(), effect.message, self._link.last_bytes)

    def reports(self, now_ns: int) -> bool:
        """Whether a report is due; True once a second."""
        due = now_ns >= self._report_ns
        if due:
            self._report_ns = max(self._report_ns, now_ns - NS_PER_S) + NS_PER_S
        return due

    def report(self, now_ns: int, busy_s: float, last: bool = False) -> Report:
        """Makes the report since the last one."""
        self._node.meter.busy_until(busy_s)
        report = self._node.report(now_ns, self._lateness, last)
        report.counters.update(self._link.counters())
        report.counters.update(ticks=self.rate.ticks, missed=self.rate.missed)
        report.gauges.update(self._link.session.gauges())
        self._lateness.clear()
        return report
