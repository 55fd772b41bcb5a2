"""The catalogue: every task, body and expert by name, and which body fits which task.

A new task or body is a module with the names that those here have, and a line.

A body has `body_spec`, `HOME_RAD`, `WORK_LOW_RAD`, `WORK_HIGH_RAD` and `ANALYTIC`: whether it moves
by a formula, without physics. If it does, `body(spec, posture_rad, reality)` makes it
(sim/analytic_cell.py); if not, `arm(world, spec, reality)` puts it into a world (sim/cell.py),
`start(rng)` draws a posture to begin in, and `tool_position` says where a posture puts the tool.

A task has `observation_spec`, `action_spec`, `perceiver` and `task`, which makes what is met and
judged: for bodies that move by a formula `task(scenario, spec, seed)` with `after_read`, for bodies
in a world `task(world, suction, scenario)` with hooks around each step of physics.

An expert has `expert(spec)`, which gives the function that labels features with setpoints.
"""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from tierloop.contract.errors import SpecError
from tierloop.contract.specs import FloatArray, PolicySpec

TASKS = {"sort": "tierloop.sim.tasks.sort.task", "reach": "tierloop.sim.tasks.reach"}
BODIES = {"panda": "tierloop.sim.bodies.panda", "plant": "tierloop.sim.bodies.plant"}
BODIES_OF = {"sort": ("panda",), "reach": ("plant",)}
"""The bodies that fit each task."""
EXPERTS = {
    ("sort", "panda"): "tierloop.sim.tasks.sort.expert",
    ("reach", "plant"): "tierloop.sim.tasks.reach",
}
"""The experts, by task and body."""


def task_module(name: str) -> ModuleType:
    """The module of a task. Loads no simulator."""
    return import_module(TASKS[name])


def body_module(name: str) -> ModuleType:
    """The module of a body. Loads no simulator."""
    return import_module(BODIES[name])


def expert(spec: PolicySpec) -> Callable[[FloatArray], FloatArray]:
    """The expert for a task and body: float32[N, D] features to float32[N, H, A] setpoints.

    Raises SpecError if there is none.
    """
    module = EXPERTS.get((spec.task, spec.body))
    if module is None:
        raise SpecError(
            f"no expert for task '{spec.task}' with body '{spec.body}'; add one to "
            "sim/catalogue.py, or set learner.rounds_max = 0 to run without learning"
        )
    label: Callable[[FloatArray], FloatArray] = import_module(module).expert(spec)
    return label
