"""The device's wall-clock shell: the control loop of one robot, one process, one thread."""

import signal
import time

from contract.body import Body, Embodiment
from contract.clock import NS_PER_S, WallClock
from contract.effects import Effects, Send
from contract.messages import Event, Hello
from device.config import DeviceConfig
from device.node import DeviceNode
from device.rate import Rate
from device.realtime import habits, sleep_until
from link.channel import Client
from link.session import State
from link.sockets import ClientSocket, ReportSource

HALT_NS = NS_PER_S // 2
"""How long a body may take to come to rest when the process is told to end."""


class ControlLoop:
    """Ticks a node against a body at absolute deadlines; no call in it waits for a peer."""

    def __init__(
        self, node: DeviceNode, body: Body, link: Client, reporter: ReportSource | None
    ) -> None:
        self._node, self._body, self._link, self._reporter = node, body, link, reporter
        self._clock = WallClock()
        start_ns = self._clock.now_ns()
        self._rate = Rate(body.spec.control_period_ns, start_ns)
        # The body's time begins on the grid of the deadlines: began it at a late first tick, every
        # tick less late than that one would find the newest state not due yet.
        body.read(start_ns)
        self._lateness: list[int] = []
        self._report_ns = start_ns + NS_PER_S
        self._stopping = False

    def stop(self) -> None:
        """Ends `run` at its next tick; may be called from a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Ticks until `stop`, then brings the body to rest."""
        self._node.on_start(self._clock.now_ns())
        while not self._stopping and self._link.session.state is not State.REFUSED:
            self.tick()
        self._halt()

    def tick(self) -> None:
        """Waits for the next deadline; then link, read, choose and limit, write, record."""
        node, clock, link = self._node, self._clock, self._link
        sleep_until(self._rate.deadline_ns)
        now_ns = clock.now_ns()
        self._lateness.append(self._rate.tick(now_ns))
        for peer in link.lost(now_ns):
            node.on_lost(now_ns, peer)
        for peer, message in link.poll(now_ns):
            node.on_message(now_ns, peer, message)
        reading = self._body.read(now_ns)
        setpoint, effects = node.on_tick(now_ns, reading)
        self._body.write(setpoint)
        node.on_written(clock.now_ns())
        self._apply(effects)
        if now_ns >= self._report_ns:
            self._report_ns += NS_PER_S
            self._report(now_ns)

    def _apply(self, effects: Effects) -> None:
        for effect in effects:
            if type(effect) is Send and self._link.send(effect.message):
                self._node.on_sent(self._clock.now_ns(), effect.message, self._link.last_bytes)

    def _halt(self) -> None:
        end_ns = self._clock.now_ns() + HALT_NS
        while self._clock.now_ns() < end_ns:
            sleep_until(self._rate.deadline_ns)
            now_ns = self._clock.now_ns()
            self._lateness.append(self._rate.tick(now_ns))
            reading = self._body.read(now_ns)
            setpoint, _ = self._node.guard.limit(None, reading.position_rad, reading.torque_nm)
            self._body.write(setpoint)
            if not self._node.guard.moving and abs(reading.velocity_rad_s).max() < 1e-2:
                break
        self._apply(self._node.flush(self._clock.now_ns()))
        self._report(self._clock.now_ns(), last=True)
        self._body.close()

    def _report(self, now_ns: int, last: bool = False) -> None:
        node = self._node
        node.meter.busy_until(time.process_time())
        report = node.report(now_ns, self._lateness, last)
        report.counters.update(self._link.tally.counters())
        report.counters.update(ticks=self._rate.ticks, missed=self._rate.missed)
        self._lateness.clear()
        if self._reporter is not None:
            self._reporter.send(report)


def run(
    config: DeviceConfig,
    name: str,
    boot: int,
    embodiment: Embodiment,
    edge: str,
    report_to: str | None,
    software: str,
    core: int | None = None,
) -> int:
    """Runs one robot until SIGTERM; 0 if it ended well, 2 if the edge refused it for good.

    `boot` tells this start from every other; `core` is the processor to stay on.
    """
    got = habits(config.realtime, core)
    node = DeviceNode(name, boot, embodiment, config, software, time.process_time())
    hello = Hello(
        node=name, role="device", boot=boot, software=software, spec=embodiment.policy.digest
    )
    link = Client(ClientSocket(edge), hello, "edge")
    reporter = ReportSource(report_to) if report_to else None
    loop = ControlLoop(node, embodiment.body, link, reporter)
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    node.note(Event(at_ns=time.monotonic_ns(), name="realtime", detail=str(got)))
    loop.run()
    link.close()
    if reporter is not None:
        reporter.close()
    if link.session.state is State.REFUSED:
        print(f"{name}: the edge refused this device: {link.session.refusal}", flush=True)
        return 2
    return 0
