"""Modelled links between real processes: what connects a process upwards."""

from collections.abc import Callable, Sequence

import numpy as np

from tierloop.link.model import LinkModel
from tierloop.link.shaped import OneWay, ShapedSocket
from tierloop.link.sockets import ClientSocket
from tierloop.link.spec import LinkSpec
from tierloop.stack.faults.kinds import Direction, Faults
from tierloop.stack.faults.timeline import changes

_DIRECTIONS: tuple[Direction, Direction] = ("up", "down")


def connector(
    faults: Faults, robots: Sequence[str], lower: str, spec: LinkSpec, seed: int, began_ns: int
) -> Callable[[str], ClientSocket]:
    """What makes the connection of the process `lower` upwards: through modelled links or not."""
    generators = np.random.default_rng([seed, 0]).spawn(2)
    up, down = (changes(faults, lower, robots, d) for d in _DIRECTIONS)
    if spec.ideal and not up and not down:
        return ClientSocket
    lanes = [
        OneWay(LinkModel(direction, rng), [(began_ns + c.at_ns, c.conditions) for c in changed])
        for direction, rng, changed in zip(spec.directions(), generators, (up, down), strict=True)
    ]
    return lambda address: ShapedSocket(address, *lanes)
