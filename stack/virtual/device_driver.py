"""The virtual shell of a device: plays the part of device/main.py on the heap."""

from collections.abc import Callable
from functools import partial

from tierloop.contract.body import Body
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.effects import Effects
from tierloop.contract.messages import Message, Report
from tierloop.contract.specs import Vector
from tierloop.device.loop import HALT_NS, Loop
from tierloop.device.node import DeviceNode
from tierloop.link.channel import Client
from tierloop.stack.virtual.costs import Charge
from tierloop.stack.virtual.heap import Heap
from tierloop.stack.virtual.wrappers import OwnClock

CARE_EVERY_NS = 20 * NS_PER_MS
"""How often the session is looked after when nothing comes in."""

Applied = Callable[[int, Vector], None]


class DeviceDriver:
    """Ticks a node against a body at absolute deadlines; a tick is one event.

    A tick's own work takes what the profile says: its action counts as applied, and its messages
    leave, when it is done. `applied` hears each setpoint and the true time.
    """

    def __init__(
        self,
        node: DeviceNode,
        body: Body,
        heap: Heap,
        clock: OwnClock,
        charge: Charge,
        link: Client,
        report: Callable[[Report], None],
        applied: Applied,
    ) -> None:
        self.node = node
        self._body, self._heap, self._clock = body, heap, clock
        self._charge, self._link, self._tell, self._applied = charge, link, report, applied
        self._loop = Loop(node, body, link, clock.own_ns(heap.now_ns))
        self._busy_ns = self._care_ns = 0
        self._woken = False
        self._alive, self._hung = True, False
        self._halt_ns: int | None = None
        self.at_rest = False
        self._held: list[tuple[str, Message]] = []

    @property
    def turns(self) -> int:
        """Calls of the node: ticks, and messages by the link's tally."""
        return self._loop.rate.ticks + self._link.tally.received.total()

    def start(self) -> None:
        self.node.on_start(self._clock.own_ns(self._heap.now_ns))
        self._next(self._heap.now_ns)

    def crash(self) -> None:
        """The process is gone, and the drives with it."""
        self._alive = False
        self._link.close()
        self._body.close()

    def hang(self) -> None:
        """No tick is done any more; the session goes on."""
        self._hung = True

    def resume(self) -> None:
        self._hung = False

    def wake(self) -> None:
        """What has arrived is taken at the next tick."""
        self._woken = True

    def halt(self) -> None:
        """From the next tick on the body is brought to rest."""
        self._halt_ns = self._heap.now_ns + HALT_NS

    def stop(self) -> None:
        """The last word of a process that ends well."""
        self._report(self._clock.own_ns(self._heap.now_ns), last=True)
        while self.node.untold:
            self._report(self._clock.own_ns(self._heap.now_ns), last=True)
        self.crash()

    def _next(self, free_ns: int) -> None:
        """The next tick: at its deadline, or when the last one is done if that is later."""
        self._heap.at(max(self._clock.true_ns(self._loop.rate.deadline_ns), free_ns), self._tick)

    def _tick(self) -> None:
        if not self._alive:
            return
        true_ns = self._heap.now_ns
        now_ns, node = self._clock.own_ns(true_ns), self.node
        arrived = self._arrived(now_ns)
        if self._hung:
            self._held += arrived
            self._heap.at(true_ns + self._loop.rate.period_ns, self._tick)
            return
        if self._held:
            arrived, self._held = self._held + arrived, []
        effects: Effects = []
        still = False
        if self._halt_ns is None:
            setpoint, effects = self._loop.tick(now_ns, arrived)
        else:
            setpoint, still = self._loop.brake(now_ns, arrived)
        self._applied(true_ns, setpoint)
        took_ns = self._charge.ns("tick")
        self._busy_ns += took_ns
        if self._halt_ns is None:
            node.on_written(now_ns + took_ns)
        if effects:
            self._heap.at(true_ns + took_ns, partial(self._apply, effects))
        if self._loop.reports(now_ns):
            self._report(now_ns)
        if self._halt_ns is not None and (still or true_ns >= self._halt_ns):
            self.at_rest = True
            self._apply(node.flush(now_ns))
            return
        self._next(true_ns + took_ns)

    def _arrived(self, now_ns: int) -> list[tuple[str, Message]]:
        """What the link brought; nothing is looked for where nothing can be."""
        if not self._woken and now_ns < self._care_ns:
            return []
        self._woken, self._care_ns = False, now_ns + CARE_EVERY_NS
        return self._loop.arrived(now_ns)

    def _own_ns(self) -> int:
        return self._clock.own_ns(self._heap.now_ns)

    def _apply(self, effects: Effects) -> None:
        if self._alive:
            self._loop.apply(effects, self._own_ns)

    def _report(self, now_ns: int, last: bool = False) -> None:
        self._tell(self._loop.report(now_ns, self._busy_ns / NS_PER_S, last))
