"""Faults on the virtual clock: the same timeline and wrappers, laid onto a VirtualStack."""

from functools import partial

from tierloop.contract.body import Embodiment
from tierloop.contract.effects import Node
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.faults.body import faulty_body
from tierloop.stack.faults.clock import Skew
from tierloop.stack.faults.kinds import CLOUD, Crash, Faults
from tierloop.stack.faults.node import wrapper
from tierloop.stack.faults.timeline import changes, own, told
from tierloop.stack.record.record import ROOF, Happening
from tierloop.stack.virtual.costs import Stretched
from tierloop.stack.virtual.stack import VirtualStack
from tierloop.stack.virtual.wrappers import OwnClock, Wrappers


class FaultyParts(Wrappers):
    """What a deployment's faults put around the clocks, nodes and bodies of a stack."""

    def __init__(self, deployment: Deployment) -> None:
        self._faults, self._robots = deployment.fault, deployment.scenario.robots

    def clock(self, name: str) -> OwnClock:
        return Skew(self._own(name), 0)

    def node(self, name: str, node: Node) -> Node:
        wrap = wrapper(self._own(name), 0, Stretched)
        return wrap(node) if wrap else node

    def embodiment(self, name: str, embodiment: Embodiment) -> Embodiment:
        return faulty_body(embodiment, self._own(name), 0)

    def _own(self, name: str) -> Faults:
        return own(self._faults, name, self._robots)


def schedule(stack: VirtualStack) -> None:
    """Lays the links' faults and the crashes of a stack's deployment onto its clock."""
    faults, robots = stack.deployment.fault, stack.deployment.scenario.robots
    for (source, target), model in stack.links.items():
        up = source in robots or target == CLOUD
        lower = source if up else target
        for change in changes(faults, lower, robots, "up" if up else "down"):
            stack.at(change.at_ns, partial(setattr, model, "conditions", change.conditions))
    for fault in faults:
        if isinstance(fault, Crash):
            for name in fault.names(robots):
                stack.at(fault.begin_ns, partial(stack.crash, name))
                stack.at(fault.end_ns, partial(_start, stack, name))
    for at_ns, target, name, detail in told(faults):
        stack.at(at_ns, partial(_tell, stack, Happening(at_ns, target, ROOF, name, detail)))


def _start(stack: VirtualStack, name: str) -> None:
    """Starts a process again, unless another crash still keeps it down."""
    robots, now_ns = stack.deployment.scenario.robots, stack.now_ns
    crashes = (f for f in stack.deployment.fault if isinstance(f, Crash))
    down = any(name in f.names(robots) and f.begin_ns <= now_ns < f.end_ns for f in crashes)
    if not down and not stack.alive(name):
        stack.restart(name)


def _tell(stack: VirtualStack, happening: Happening) -> None:
    stack.events.append(happening)
