"""The catalogue: every task and body by name, and which body fits which task.

A new task or body is a module with the names of those here, and a line.
"""

from importlib import import_module
from types import ModuleType

TASKS = {"sort": "tierloop.sim.tasks.sort.task", "reach": "tierloop.sim.bodies.plant"}
BODIES = {"panda": "tierloop.sim.bodies.panda", "plant": "tierloop.sim.bodies.plant"}
BODIES_OF = {"sort": ("panda",), "reach": ("plant",)}
"""The bodies that fit each task."""


def task(name: str) -> ModuleType:
    """The module of a task. Loads no simulator."""
    return import_module(TASKS[name])


def body(name: str) -> ModuleType:
    """The module of a body. Loads no simulator."""
    return import_module(BODIES[name])
