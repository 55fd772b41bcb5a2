"""The device's wall-clock shell: the control loop of one robot, one process, one thread."""

import signal
import time
from collections.abc import Callable

from contract.body import Body, Embodiment
from contract.clock import NS_PER_MS, NS_PER_S, Clock, WallClock
from contract.effects import Effects, Send
from contract.messages import Event, Hello
from device.config import DeviceConfig
from device.node import DeviceNode
from device.rate import Rate
from device.realtime import habits, sleep_until
from link.channel import Client
from link.session import State
from link.shaped import ShapedSocket
from link.sockets import ClientSocket, Poller, ReportSource

HALT_NS = NS_PER_S // 2
"""How long a body may take to come to rest when the process is told to end."""


class ControlLoop:
    """Ticks a node against a body at absolute deadlines; no call in it waits for a peer."""

    def __init__(
        self,
        node: DeviceNode,
        body: Body,
        link: Client,
        reporter: ReportSource | None,
        clock: Clock | None = None,
    ) -> None:
        self._node, self._body, self._link, self._reporter = node, body, link, reporter
        self._clock = clock or WallClock()
        self._shaped = link.transport if isinstance(link.transport, ShapedSocket) else None
        self._poller = Poller([self._shaped]) if self._shaped else None
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
        self._wait()
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

    def _wait(self) -> None:
        """Sleeps to the next deadline; frames of a modelled link that are due wake it."""
        deadline_ns = self._rate.deadline_ns + time.monotonic_ns() - self._clock.now_ns()
        if self._shaped is None or self._poller is None:
            sleep_until(deadline_ns)
            return
        while (now_ns := time.monotonic_ns()) < deadline_ns:
            next_ns = min(deadline_ns, self._shaped.due_ns)
            if next_ns - now_ns > NS_PER_MS:
                self._poller.wait((next_ns - now_ns) / NS_PER_MS)
            else:
                sleep_until(next_ns)
            self._shaped.pump()

    def _apply(self, effects: Effects) -> None:
        for effect in effects:
            if type(effect) is Send and self._link.send(effect.message):
                self._node.on_sent(self._clock.now_ns(), effect.message, self._link.last_bytes)

    def _halt(self) -> None:
        end_ns = self._clock.now_ns() + HALT_NS
        while self._clock.now_ns() < end_ns:
            self._wait()
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
        if self._poller is not None:
            self._poller.close()

    def _report(self, now_ns: int, last: bool = False) -> None:
        node = self._node
        node.meter.busy_until(time.process_time())
        report = node.report(now_ns, self._lateness, last)
        report.counters.update(self._link.tally.counters())
        if self._shaped is not None:
            report.counters.update(self._shaped.counters())
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
    connect: Callable[[str], ClientSocket] = ClientSocket,
    clock: Clock | None = None,
) -> int:
    """Runs one robot until SIGTERM; 0 if it ended well, 2 if the edge refused it for good.

    `boot` tells this start from every other; `core` is the processor to stay on; `connect` makes
    the connection to the edge; `clock` is the host's monotonic one by default.
    """
    got = habits(config.realtime, core)
    node = DeviceNode(name, boot, embodiment, config, software, time.process_time())
    hello = Hello(
        node=name, role="device", boot=boot, software=software, spec=embodiment.policy.digest
    )
    link = Client(connect(edge), hello, "edge")
    reporter = ReportSource(report_to) if report_to else None
    loop = ControlLoop(node, embodiment.body, link, reporter, clock)
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    node.note(Event(at_ns=time.monotonic_ns(), name="realtime", detail=str(got)))
    loop.run()
    link.close()
    if reporter is not None:
        reporter.close()
    if link.session.state is State.REFUSED:
        print(f"the edge refused this device: {link.session.refusal}", flush=True)
        return 2
    return 0
