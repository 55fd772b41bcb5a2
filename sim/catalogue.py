"""The catalogue: every task and body by name, and which body fits which task.

A new task or body is a module with the names that those here have, and a line.

A body has `body_spec`, `HOME_RAD`, `WORK_LOW_RAD`, `WORK_HIGH_RAD` and `ANALYTIC`: whether it moves
by a formula, without physics. If it does, `body(spec, posture_rad)` makes it (sim/embody.py); if
not, `arm(world)` puts it into a world (sim/cell.py), `start(rng)` draws a posture to begin in, and
`tool_position` says where a posture puts the tool.

A task has `observation_spec`, `action_spec`, `perceiver` and `task`, which makes what is met and
judged: for bodies that move by a formula `task(scenario, spec, seed)` with `after_read`, for bodies
in a world `task(world, suction, scenario)` with hooks around each step of physics.
"""

from importlib import import_module
from types import ModuleType

TASKS = {"sort": "tierloop.sim.tasks.sort.task", "reach": "tierloop.sim.tasks.reach"}
BODIES = {"panda": "tierloop.sim.bodies.panda", "plant": "tierloop.sim.bodies.plant"}
BODIES_OF = {"sort": ("panda",), "reach": ("plant",)}
"""The bodies that fit each task."""


def task(name: str) -> ModuleType:
    """The module of a task. Loads no simulator."""
    return import_module(TASKS[name])


def body(name: str) -> ModuleType:
    """The module of a body. Loads no simulator."""
    return import_module(BODIES[name])
