"""What a process's own clock says, and what may be put around the parts of a virtual stack."""

from typing import Protocol

from tierloop.contract.body import Embodiment
from tierloop.contract.effects import Node
from tierloop.device.config import DeviceConfig
from tierloop.device.node import DeviceNode


class OwnClock(Protocol):
    """A process's clock as a function of true time, and back; it never goes backwards."""

    def own_ns(self, true_ns: int) -> int: ...
    def true_ns(self, own_ns: int) -> int: ...


class TrueClock:
    """A clock that is right."""

    def own_ns(self, true_ns: int) -> int:
        return true_ns

    def true_ns(self, own_ns: int) -> int:
        return own_ns


class Wrappers:
    """What is put around a process's clock, node and embodiment; by default nothing."""

    def clock(self, _name: str) -> OwnClock:
        return TrueClock()

    def node(self, _name: str, node: Node) -> Node:
        return node

    def device(
        self, name: str, boot: int, embodiment: Embodiment, config: DeviceConfig, software: str
    ) -> DeviceNode:
        """Makes a robot's node; a subclass of DeviceNode can watch what goes in and out."""
        return DeviceNode(name, boot, embodiment, config, software)

    def embodiment(self, _name: str, embodiment: Embodiment) -> Embodiment:
        return embodiment
