"""The virtual shell of the edge and the cloud: plays the part of link/shell.py on the heap."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from tierloop.contract.clock import NS_PER_MS
from tierloop.contract.effects import Compute, Effect, Effects, Node, Send, Timer
from tierloop.contract.messages import Report
from tierloop.link.channel import Client, Server
from tierloop.link.shell import REPORT_EVERY_NS, attempt, with_links
from tierloop.stack.faults.node import HELD_MAX
from tierloop.stack.virtual.heap import Heap
from tierloop.stack.virtual.wrappers import OwnClock

CARE_EVERY_NS = 50 * NS_PER_MS
"""How often sessions are looked after, whatever comes in."""

Input = Callable[[int], Effects]


class Bill(Protocol):
    """What the jobs of a process cost."""

    def before_ns(self, compute: Compute) -> int | None:
        """The price, if it is known before the job is done."""
        ...

    def after_ns(self, compute: Compute) -> int:
        """The price of a job that has just been done."""
        ...


class ServerDriver:
    """Drives one node: in each turn what has arrived, then finished jobs, then due timers.

    A job in line keeps the node busy for what it costs; lanes run side by side with it. A job in
    line is done when its time is over, one on a lane after half of it, and the node hears of it at
    the end: a process may crash before a job, after it, or between what it did and the node's word.
    """

    def __init__(
        self,
        node: Node,
        heap: Heap,
        clock: OwnClock,
        bill: Bill,
        server: Server | None,
        client: Client | None,
        report: Callable[[Report], None],
    ) -> None:
        self.node = node
        self.turns = 0
        self._heap, self._clock, self._bill = heap, clock, bill
        self._server, self._client = server, client
        self._channels: list[Server | Client] = [c for c in (server, client) if c is not None]
        self._tell = report
        self._alive, self._hung, self._busy, self._pumping = True, False, False, False
        self._arrived = False
        self._effects: deque[Effect] = deque()
        self._inputs: deque[Input] = deque()
        self._done: deque[Input] = deque()
        self._due: deque[str] = deque()
        self._timers: dict[str, int] = {}
        self._lanes: dict[str, deque[Compute]] = {}

    @property
    def now_ns(self) -> int:
        """The process's own time."""
        return self._clock.own_ns(self._heap.now_ns)

    def start(self) -> None:
        self._effects.extend(self.node.on_start(self.now_ns))
        self._after(CARE_EVERY_NS, self._care)
        self._after(REPORT_EVERY_NS, self._report)
        self._pump()

    def crash(self) -> None:
        """The process is gone, with all it had in memory."""
        self._alive = False
        for channel in self._channels:
            channel.close()

    def hang(self) -> None:
        """No work is done any more; sessions go on."""
        self._hung = True

    def resume(self) -> None:
        self._hung = False
        self._pump()

    def wake(self) -> None:
        """Something has arrived."""
        self._arrived = True
        if not (self._busy or self._pumping):
            self._pump()

    def stop(self) -> None:
        """The last word of a process that ends well."""
        self._report(last=True)
        self.crash()

    def _after(self, delay_ns: int, call: Callable[[], None]) -> None:
        self._heap.at(self._heap.now_ns + delay_ns, call)

    def _care(self) -> None:
        if not self._alive:
            return
        self._after(CARE_EVERY_NS, self._care)
        if self._busy:
            return
        now_ns = self.now_ns
        for channel in self._channels:
            for peer in channel.lost(now_ns):
                self._inputs.append(partial(_lost, self.node, peer))
        self._arrived = True
        self._pump()

    def _report(self, last: bool = False) -> None:
        if not self._alive:
            return
        if not last:
            self._after(REPORT_EVERY_NS, self._report)
        if self._hung:
            return
        self._tell(with_links(self.node.report(self.now_ns), self._server, self._client))

    def _poll(self) -> None:
        self._arrived = False
        now_ns = self.now_ns
        for channel in self._channels:
            for peer, message in channel.poll(now_ns):
                self._inputs.append(partial(_message, self.node, peer, message))
        while self._hung and len(self._inputs) > HELD_MAX:
            self._inputs.pop()

    def _pump(self) -> None:
        """Goes on until nothing is left to do, or a job in line is under way."""
        self._pumping = True
        try:
            while self._alive and not self._busy and self._step():
                pass
        finally:
            self._pumping = False

    def _step(self) -> bool:
        if self._arrived and not self._effects:
            self._poll()
        if self._hung:
            return False
        if self._effects:
            self._apply(self._effects.popleft())
        elif self._inputs:
            self._feed(self._inputs.popleft())
        elif self._done:
            self._feed(self._done.popleft())
        elif self._due:
            self._fire(self._due.popleft())
        else:
            return False
        return True

    def _feed(self, call: Input) -> None:
        self.turns += 1
        self._effects.extend(call(self.now_ns))

    def _fire(self, name: str) -> None:
        at_ns = self._timers.get(name)
        if at_ns is not None and at_ns <= self.now_ns:
            del self._timers[name]
            self._feed(partial(_timer, self.node, name))

    def _apply(self, effect: Effect) -> None:
        if type(effect) is Send:
            if self._client is not None and effect.to == self._client.server:
                self._client.send(effect.message)
            elif self._server is not None:
                self._server.send(effect.to, effect.message)
        elif type(effect) is Timer:
            self._timers[effect.name] = effect.at_ns
            self._set(effect.name, effect.at_ns)
        elif type(effect) is Compute:
            if effect.lane:
                self._queue(effect)
            else:
                self._busy = True
                self._begin(effect)

    def _set(self, name: str, at_ns: int) -> None:
        if at_ns <= self.now_ns:
            self._due.append(name)
        else:
            self._heap.at(self._clock.true_ns(at_ns), partial(self._ring, name, at_ns))

    def _ring(self, name: str, at_ns: int) -> None:
        if not self._alive or self._timers.get(name) != at_ns:
            return
        if at_ns > self.now_ns:
            self._after(1, partial(self._ring, name, at_ns))
            return
        self._due.append(name)
        if not (self._busy or self._pumping):
            self._pump()

    def _queue(self, compute: Compute) -> None:
        lane = self._lanes.setdefault(compute.lane, deque())
        lane.append(compute)
        if len(lane) == 1:
            self._begin(compute)

    def _begin(self, compute: Compute) -> None:
        lasts_ns = self._bill.before_ns(compute)
        if lasts_ns is None:
            result = attempt(compute.job)
            self._after(self._bill.after_ns(compute), partial(self._end, compute, lambda: result))
        elif compute.lane:
            results: list[Any] = []
            self._after(lasts_ns // 2, partial(self._work, compute, results))
            self._after(lasts_ns, partial(self._end, compute, results.pop))
        else:
            self._after(lasts_ns, partial(self._end, compute, compute.job))

    def _work(self, compute: Compute, results: list[Any]) -> None:
        if self._alive:
            results.append(attempt(compute.job))

    def _end(self, compute: Compute, job: Callable[[], Any]) -> None:
        if not self._alive:
            return
        result = attempt(job)
        if not compute.lane:
            self.turns += 1
            effects = self.node.on_done(self.now_ns, compute.name, result)
            self._effects.extendleft(reversed(effects))
            self._busy = False
            self._pump()
            return
        self._done.append(partial(_done, self.node, compute.name, result))
        lane = self._lanes[compute.lane]
        lane.popleft()
        if lane:
            self._begin(lane[0])
        if not (self._busy or self._pumping):
            self._pump()


def _message(node: Node, peer: str, message: Any, now_ns: int) -> Effects:
    return node.on_message(now_ns, peer, message)


def _lost(node: Node, peer: str, now_ns: int) -> Effects:
    return node.on_lost(now_ns, peer)


def _timer(node: Node, name: str, now_ns: int) -> Effects:
    return node.on_timer(now_ns, name)


def _done(node: Node, name: str, result: Any, now_ns: int) -> Effects:
    return node.on_done(now_ns, name, result)
