"""Bodies as strangers write them: what befalls a robot is its name's."""

import sys
import time


def spoil(name: str) -> None:
    from tierloop.sim.bodies import plant

    built, read = plant.Plant.__init__, plant.Plant.read

    def make(self, *arguments, **keywords):
        if name == "built-badly":
            raise ValueError("no such arm")
        self.reads = 0
        built(self, *arguments, **keywords)

    def sense(self, now_ns):
        self.reads += 1
        if name == "raises" and self.reads == 100:
            raise ValueError("the sensor is gone")
        if name == "unfit" and self.reads == 100:
            from tierloop.contract.errors import SpecError

            raise SpecError("position_rad: shape (3,) is not (2,)")
        while name == "blocks" and self.reads >= 400:  # it has reported by then
            time.sleep(60)
        return read(self, now_ns)

    plant.Plant.__init__, plant.Plant.read = make, sense


if "tierloop.stack.wall.processes" in sys.orig_argv:
    spoil(sys.orig_argv[-1])
