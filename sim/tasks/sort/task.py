"""The sort task: take each part off the belt and put it into the bin of its class."""

from typing import TYPE_CHECKING

from tierloop.contract.body import Episode, Scan
from tierloop.contract.poses import PlacedObject
from tierloop.contract.specs import ArraySpec, BodySpec, PolicySpec
from tierloop.sim.tasks.sort.perceive import SortPerceiver, observation_spec
from tierloop.sim.tasks.sort.scanner import Scanner
from tierloop.sim.tasks.sort.scene import Scene

if TYPE_CHECKING:
    from tierloop.sim.scenario import Scenario
    from tierloop.sim.tools.suction import Graspable, Suction
    from tierloop.sim.world import World

__all__ = ["SortPerceiver", "SortTask", "action_spec", "observation_spec", "perceiver", "task"]


def action_spec(
    body: BodySpec, low_rad: tuple[float, ...], high_rad: tuple[float, ...]
) -> ArraySpec:
    """One setpoint a joint, within the postures the cell needs, then the suction switch."""
    return ArraySpec(
        name="action",
        labels=(*(f"{joint}_rad" for joint in body.joints), "suction"),
        low=(*low_rad, 0.0),
        high=(*high_rad, 1.0),
    )


def perceiver(spec: PolicySpec) -> SortPerceiver:
    """The task's perceive stage."""
    return SortPerceiver(spec.observation)


def task(world: "World", suction: "Suction", scenario: "Scenario") -> "SortTask":
    """The task in a world, for a body with a cup."""
    return SortTask(world, suction, scenario)


class SortTask:
    """Scene and scanning station of one cell; `sim/cell.py` calls it around each physics step."""

    def __init__(self, world: "World", suction: "Suction", scenario: "Scenario") -> None:
        self._world = world
        self._scene = Scene(world, suction, scenario)
        self._scanner = Scanner(scenario)

    def clear(self) -> None:
        """Removes all parts."""
        self._scene.clear()

    def start(self, seed: int, now_ns: int) -> None:
        """Starts an empty cell with the parts and scans of this seed."""
        self._scene.start(seed, now_ns)
        self._scanner.start(seed, now_ns)

    def before_step(self, now_ns: int) -> None:
        """Call before the physics step that ends at `now_ns`."""
        self._scene.before_step(now_ns)

    def graspable(self) -> "list[Graspable]":
        """All parts that the cup may take."""
        return self._scene.graspable()

    def objects(self) -> list[PlacedObject]:
        """All parts, where they are now."""
        return self._scene.objects()

    def after_step(self, now_ns: int) -> tuple[list[Scan], list[Episode]]:
        """Call after each physics step. Returns the scans that arrive and the parts judged."""
        judged = self._scene.after_step(now_ns)
        part = self._scene.travelling()
        if part is not None and self._scanner.due(now_ns):
            self._scanner.capture(now_ns, part, self._world.position(part.name))
        return self._scanner.arrived(now_ns), judged
