"""The device's process on the wall clock: one robot's control loop, in one thread."""

import signal
import time
from collections.abc import Callable, Iterable

from tierloop.contract.body import Body, Embodiment
from tierloop.contract.clock import NS_PER_MS, Clock, WallClock
from tierloop.contract.errors import running
from tierloop.contract.messages import Event, Hello
from tierloop.contract.poses import Poses
from tierloop.device.config import DeviceConfig
from tierloop.device.loop import HALT_NS, Loop
from tierloop.device.node import DeviceNode
from tierloop.device.realtime import habits, sleep_until
from tierloop.link.channel import Client
from tierloop.link.reports import ReportSource
from tierloop.link.session import State
from tierloop.link.shaped import ShapedSocket
from tierloop.link.sockets import ClientSocket, Poller
from tierloop.link.waiting import Waits


class ControlLoop:
    """Ticks a node and a body at absolute deadlines; it never waits for a peer."""

    def __init__(
        self,
        node: DeviceNode,
        body: Body,
        link: Client,
        reporter: ReportSource | None,
        clock: Clock | None = None,
        poses: Callable[[], Iterable[Poses]] = tuple,
    ) -> None:
        self._node, self._body, self._link, self._reporter = node, body, link, reporter
        self._poses = poses
        self._clock = clock or WallClock()
        self._shaped = link.transport if isinstance(link.transport, ShapedSocket) else None
        self._poller = Poller([self._shaped]) if self._shaped else None
        self._loop = Loop(node, body, link, self._clock.now_ns())
        self._waits = Waits(self._clock.now_ns(), link)
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
        """Waits for the next deadline; then receives, reads, chooses, writes, sends and reports."""
        clock = self._clock
        self._wait()
        now_ns = clock.now_ns()
        _, effects = self._loop.tick(now_ns, self._loop.arrived(now_ns))
        self._node.on_written(clock.now_ns())
        self._loop.apply(effects, clock.now_ns)
        if self._loop.reports(now_ns):
            self._report(now_ns)

    def _wait(self) -> None:
        """Sleeps until the next deadline; moves frames of a modelled link when they are due."""
        deadline_ns = self._loop.rate.deadline_ns + time.monotonic_ns() - self._clock.now_ns()
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

    def _halt(self) -> None:
        end_ns = self._clock.now_ns() + HALT_NS
        while self._clock.now_ns() < end_ns:
            self._wait()
            _, still = self._loop.brake(self._clock.now_ns(), [])
            if still:
                break
        self._loop.apply(self._node.flush(self._clock.now_ns()), self._clock.now_ns)
        self._report(self._clock.now_ns(), last=True)
        while self._node.untold:
            self._report(self._clock.now_ns(), last=True)
        self._body.close()
        if self._poller is not None:
            self._poller.close()

    def _report(self, now_ns: int, last: bool = False) -> None:
        for event in self._waits.look(now_ns):
            self._node.note(event)
        report = self._loop.report(now_ns, time.process_time(), last)
        if self._reporter is not None:
            self._reporter.send(report)
            for poses in self._poses():
                self._reporter.show(poses)


def run(
    *,
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
    poses: Callable[[], Iterable[Poses]] = tuple,
) -> int:
    """Runs one robot until SIGTERM. Returns 0, or 2 if the edge refuses this robot for good.

    Only a refusal before the first session ends it; after that the robot waits to be let in again.

    `boot` tells this start from every other; `core` is the processor to stay on; `connect` makes
    the connection to the edge; `clock` is the host's monotonic one by default; `poses` gives what
    a simulator has noted since the last call, which goes to the roof beside each report.
    """
    got = habits(config.realtime, core)
    node = DeviceNode(name, boot, embodiment, config, software, time.process_time())
    hello = Hello(
        node=name, role="device", boot=boot, software=software, spec=embodiment.policy.digest
    )
    link = Client(connect(edge), hello, "edge")
    reporter = ReportSource(report_to) if report_to else None
    loop = ControlLoop(node, embodiment.body, link, reporter, clock, poses)
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    told = ", ".join(f"{what} {how}" for what, how in got.items())
    node.note(Event(at_ns=time.monotonic_ns(), name="realtime", detail=told))
    with running():
        loop.run()
    link.close()
    if reporter is not None:
        reporter.close()
    if link.session.state is State.REFUSED:
        print(f"the edge refused this device: {link.session.refusal}", flush=True)
        return 2
    return 0
