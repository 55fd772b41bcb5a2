"""The wall-clock shell: drives a node over real sockets and threads."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter
from queue import SimpleQueue
from typing import Any

import msgspec

from tierloop.contract.clock import NS_PER_MS, NS_PER_S, Clock
from tierloop.contract.effects import Compute, Effects, Node, Send, Timer
from tierloop.contract.messages import Report
from tierloop.link.channel import Client, Server
from tierloop.link.reports import ReportSource
from tierloop.link.sockets import ClientSocket, Poller, ServerSocket
from tierloop.link.waiting import Waits

REPORT_EVERY_NS = NS_PER_S
IDLE_MS = 50.0
"""The longest wait: sessions are looked after, and a stop noticed, this often."""

CARE_EVERY_NS = 10 * NS_PER_MS
"""The shortest time between two looks after the sessions; what has arrived is taken at once."""

_WHEN = itemgetter(1)

Done = deque[tuple[str, Any]]


def attempt(job: Callable[[], Any]) -> Any:
    """The job's result, or the exception it raised."""
    try:
        return job()
    except Exception as error:
        return error


def with_links(report: Report, server: Server | None, client: Client | None) -> Report:
    """The report of a node with what its links counted, and the state of its session."""
    counters, gauges = dict(report.counters), dict(report.gauges)
    if server is not None:
        _add(counters, server.tally.counters())
    if client is not None:
        _add(counters, client.counters())
        gauges |= client.session.gauges()
    return msgspec.structs.replace(report, counters=counters, gauges=gauges)


def _add(counters: dict[str, float], more: dict[str, float]) -> None:
    for name, value in more.items():
        counters[name] = counters.get(name, 0.0) + value


class Lane:
    """One daemon thread that runs jobs in order."""

    def __init__(self, name: str, done: Done, poller: Poller) -> None:
        self._jobs: SimpleQueue[Compute | None] = SimpleQueue()
        self._done = done
        self._poller = poller
        self._thread = threading.Thread(target=self._run, name=f"lane-{name}", daemon=True)
        self._thread.start()

    def put(self, compute: Compute) -> None:
        self._jobs.put(compute)

    def finish(self, timeout_s: float) -> None:
        """Lets what is queued end, for `timeout_s` at most."""
        self._jobs.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (compute := self._jobs.get()) is not None:
            self._done.append((compute.name, attempt(compute.job)))
            self._poller.wake()


class WallShell:
    """Runs one node until told to stop.

    In each turn: everything that has arrived, then finished jobs, then due timers, so that
    a timer set to "now" sees all that came in together.
    """

    def __init__(
        self,
        node: Node,
        clock: Clock,
        server: Server | None = None,
        client: Client | None = None,
        reporter: ReportSource | None = None,
        whom: str = "a client",
    ) -> None:
        """`whom` the server waits for, in words."""
        self._node = node
        self._clock = clock
        self._server, self._client = server, client
        self._channels = [c for c in (server, client) if c is not None]
        self._reporter = reporter
        transports = [c.transport for c in self._channels]
        self._poller = Poller([t for t in transports if isinstance(t, ClientSocket | ServerSocket)])
        self._waits = Waits(clock.now_ns(), client, server, whom)
        self._done: Done = deque()
        self._lanes: dict[str, Lane] = {}
        self._timers: dict[str, int] = {}
        self._stopping = False

    def stop(self) -> None:
        """Ends `run` at its next turn; may be called from a signal handler."""
        self._stopping = True

    def run(self, drain_s: float = 1.0) -> None:
        """Drives the node until `stop`; then all lanes get `drain_s` to end what they hold."""
        now_ns = self._clock.now_ns()
        report_ns, care_ns = now_ns + REPORT_EVERY_NS, now_ns
        self._apply(self._node.on_start(now_ns))
        while not self._stopping:
            self._turn(self._poller.wait(self._wait_ms(now_ns, report_ns)))
            now_ns = self._clock.now_ns()
            if now_ns >= care_ns:
                care_ns = now_ns + CARE_EVERY_NS
                self._care()
            if now_ns >= report_ns:
                report_ns = now_ns + REPORT_EVERY_NS
                self._report(now_ns)
        end_s = time.monotonic() + drain_s
        for lane in self._lanes.values():
            lane.finish(max(0.0, end_s - time.monotonic()))
        self._care()
        self._turn(())
        self._report(self._clock.now_ns())
        self._poller.close()

    def _care(self) -> None:
        """Looks after the sessions: who is lost, what is owed, what waits to be sent."""
        for i, channel in enumerate(self._channels):
            now_ns = self._clock.now_ns()
            for peer in channel.lost(now_ns):
                self._apply(self._node.on_lost(now_ns, peer))
            self._take(i)

    def _take(self, i: int) -> None:
        now_ns = self._clock.now_ns()
        for peer, message in self._channels[i].poll(now_ns):
            self._apply(self._node.on_message(now_ns, peer, message))

    def _turn(self, ready: Sequence[int]) -> None:
        node, clock = self._node, self._clock
        for i in ready:
            self._take(i)
        while self._done:
            name, result = self._done.popleft()
            self._apply(node.on_done(clock.now_ns(), name, result))
        if self._timers:
            now_ns = clock.now_ns()
            for name, at_ns in sorted(self._timers.items(), key=_WHEN):
                if at_ns <= now_ns and self._timers.get(name) == at_ns:
                    del self._timers[name]
                    self._apply(node.on_timer(now_ns, name))

    def _wait_ms(self, now_ns: int, report_ns: int) -> float:
        if self._done:
            return 0.0
        first_ns = min(self._timers.values(), default=report_ns)
        return min(IDLE_MS, max(0.0, (min(first_ns, report_ns) - now_ns) / NS_PER_MS))

    def _apply(self, effects: Effects) -> None:
        for effect in effects:
            if type(effect) is Send:
                self._send(effect)
            elif type(effect) is Timer:
                self._timers[effect.name] = effect.at_ns
            elif type(effect) is Compute:
                self._compute(effect)

    def _send(self, effect: Send) -> None:
        if self._client is not None and effect.to == self._client.server:
            self._client.send(effect.message)
        elif self._server is not None:
            self._server.send(effect.to, effect.message)

    def _compute(self, compute: Compute) -> None:
        if not compute.lane:
            result = attempt(compute.job)
            self._apply(self._node.on_done(self._clock.now_ns(), compute.name, result))
            return
        if compute.lane not in self._lanes:
            self._lanes[compute.lane] = Lane(compute.lane, self._done, self._poller)
        self._lanes[compute.lane].put(compute)

    def _report(self, now_ns: int) -> None:
        if self._reporter is None:
            return
        report = with_links(self._node.report(now_ns), self._server, self._client)
        events = (*report.events, *self._waits.look(now_ns))
        self._reporter.send(msgspec.structs.replace(report, events=events))
