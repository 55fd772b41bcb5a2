"""Faults on the wall clock: what a process does to itself, and what its supervisor does to it.

Every process holds the whole timeline and the instant at which the run began, and applies its own
part: links, clock, sensors, disk. Only crashes come from outside.
"""

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

from tierloop.contract.body import Embodiment
from tierloop.contract.clock import Clock
from tierloop.contract.effects import Node
from tierloop.link.model import LinkModel, LinkSpec
from tierloop.link.shaped import Lane, ShapedSocket
from tierloop.link.sockets import ClientSocket
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.faults.kinds import (
    ClockDrift,
    ClockStep,
    Crash,
    Direction,
    Faults,
    FullDisk,
    Hang,
    SensorDropout,
    SensorFreeze,
    SlowLearner,
)
from tierloop.stack.faults.node import FaultyBody, FaultyNode, Skew, SkewedClock, Stretch, slept
from tierloop.stack.faults.timeline import changes, told

CLOCK = (ClockStep, ClockDrift)
BODY = (*CLOCK, SensorFreeze, SensorDropout)
NODE = (Hang, FullDisk, SlowLearner)


def clock(faults: Faults, began_ns: int) -> Clock | None:
    """The clock of a process with these faults, if it is wrong at any time."""
    wrong = any(isinstance(f, CLOCK) for f in faults)
    return SkewedClock(Skew(faults, began_ns)) if wrong else None


def body(embodiment: Embodiment, faults: Faults, began_ns: int) -> Embodiment:
    """The embodiment of a device with these faults."""
    if not any(isinstance(f, BODY) for f in faults):
        return embodiment
    return embodiment._replace(body=FaultyBody(embodiment.body, faults, began_ns))


def wrapper(
    faults: Faults, began_ns: int, stretch: Stretch = slept
) -> Callable[[Node], Node] | None:
    """What stands around the node of a process with these faults; `stretch` slows a job down."""
    if not any(isinstance(f, NODE) for f in faults):
        return None
    return lambda node: FaultyNode(node, faults, began_ns, stretch)


def connector(
    deployment: Deployment, lower: str, spec: LinkSpec, seed: int, began_ns: int
) -> Callable[[str], ClientSocket]:
    """What makes the connection of the process `lower` upwards: through modelled links or not."""
    robots, generators = deployment.scenario.robots, np.random.default_rng([seed, 0]).spawn(2)
    up, down = (changes(deployment.fault, lower, robots, d) for d in _DIRECTIONS)
    if spec.ideal and not up and not down:
        return ClientSocket
    lanes = [
        Lane(LinkModel(spec, rng), [(began_ns + c.at_ns, c.conditions) for c in changed])
        for rng, changed in zip(generators, (up, down), strict=True)
    ]
    return lambda address: ShapedSocket(address, *lanes)


_DIRECTIONS: tuple[Direction, Direction] = ("up", "down")


class Nemesis:
    """The supervisor's part: it kills what is to crash, and tells of its processes' faults.

    `crash(process, seconds)` kills a process and keeps it down; `tell(target, name, detail)` puts
    an event on record.
    """

    def __init__(
        self,
        deployment: Deployment,
        processes: Iterable[str],
        began_ns: int,
        crash: Callable[[str, float], None],
        tell: Callable[[str, str, str], None],
    ) -> None:
        robots, here = deployment.scenario.robots, set(processes)
        mine = tuple(f for f in deployment.fault if here & {*f.names(robots)})
        crashes = [f for f in mine if isinstance(f, Crash)]
        self._crashes = deque(
            sorted((f.begin_ns, name, f.for_s) for f in crashes for name in f.names(robots))
        )
        self._told = deque(told(mine))
        self._began_ns, self._crash, self._tell = began_ns, crash, tell

    def step(self, now_ns: int) -> None:
        """Does what is due."""
        since_ns = now_ns - self._began_ns
        while self._told and self._told[0][0] <= since_ns:
            _, target, name, detail = self._told.popleft()
            self._tell(target, name, detail)
        while self._crashes and self._crashes[0][0] <= since_ns:
            _, process, for_s = self._crashes.popleft()
            self._crash(process, for_s)
