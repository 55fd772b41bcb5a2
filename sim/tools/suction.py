"""A suction cup: it holds a part that its lip touches, and loses one that pulls too hard."""

from collections.abc import Iterable
from math import dist, hypot
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tierloop.sim.world import Triple, World

REACH_M = 0.015
"""How far from the middle of a part's top the lip still seals."""
GAP_M = 0.012
"""How far above or (the bellows pressed) below a part's top the lip still seals."""
FORCE_N = 25.0
"""What the vacuum carries: about 60 kPa on a lip of 23 mm."""
SLIP_M = 0.008
"""How far a part may slip before the vacuum is lost."""


class Graspable(NamedTuple):
    """A part that the cup may take: its name in the world and the middle of its top, m."""

    name: str
    top_m: "Triple"


class Suction:
    """The cup of one hand in a world. `holding`: the name of the part at the lip, or ""."""

    def __init__(self, world: "World", body: str, link: int) -> None:
        self._world, self._body, self._link = world, body, link
        self._tie = 0
        self._length_m = 0.0
        self.holding = ""

    def pull(self, lip_m: "Triple", parts: Iterable[Graspable]) -> None:
        """Call after each physics step while the pump is on.

        Takes the first of `parts` on which the lip seals; if the cup holds one already, lets go of
        it once it has slipped. `lip_m`: the lip in the world frame.
        """
        if self.holding:
            if abs(dist(self._world.position(self.holding), lip_m) - self._length_m) > SLIP_M:
                self.let_go()
            return
        for part in parts:
            if seals(lip_m, part.top_m):
                self._tie = self._world.attach(self._body, self._link, part.name, lip_m, FORCE_N)
                self._length_m = dist(self._world.position(part.name), lip_m)
                self.holding = part.name
                return

    def let_go(self) -> None:
        """Vents the cup: whatever it holds is released."""
        if self.holding:
            self._world.detach(self._tie)
            self.holding = ""


def seals(lip_m: "Triple", top_m: "Triple") -> bool:
    """Whether a lip at `lip_m` would hold a part with the middle of its top at `top_m`."""
    aside = hypot(lip_m[0] - top_m[0], lip_m[1] - top_m[1])
    return aside <= REACH_M and abs(lip_m[2] - top_m[2]) <= GAP_M
