"""A stranger's body, from any module: found, made, and tried once before anything is measured."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tierloop.contract.body import Body, Effort, Embodiment, Reading
from tierloop.contract.errors import UserError
from tierloop.contract.specs import BodySpec, FloatArray, PolicySpec

METHODS = ("read", "write", "hold", "close", "tool_position")


class Plain:
    """The perceive stage of a body that brings none: positions, then velocities."""

    def update(self, reading: Reading) -> None:
        """Keeps nothing."""

    def features(self, reading: Reading) -> FloatArray:
        """float32[2 * joints]."""
        return np.concatenate([reading.position_rad, reading.velocity_rad_s]).astype(np.float32)


def embody(name: str) -> tuple[Embodiment | None, Body]:
    """What `MODULE:NAME` gives when called: an Embodiment, or a Body alone. Raises UserError."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UserError(f"--body {name}: expected MODULE:NAME, as in my_package:MyBody")
    sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(module), attribute)()
    except ModuleNotFoundError as error:
        raise UserError(
            f"--body {name}: {error}; run this command where the module can be imported"
        ) from None
    except Exception as error:
        raise UserError(f"--body {name}: {_said(error)}") from None
    finally:
        sys.path.pop(0)
    whole = all(hasattr(made, field) for field in Embodiment._fields)
    body: Body = made.body if whole else made
    reading = _checked(name, body)
    if not whole:
        return None, body
    found = Embodiment(body, made.perceiver, made.policy)
    if not isinstance(found.policy, PolicySpec):
        have = type(found.policy).__name__
        raise UserError(f"--body {name}: policy must be a PolicySpec, not a {have}")
    _tried(name, "perceiver", lambda: found.perceiver.update(reading))
    features = _tried(name, "perceiver", lambda: found.perceiver.features(reading))
    _tried(name, "perceiver", lambda: found.policy.observation.validate(features))
    return found, body


def _checked(name: str, body: Body) -> Reading:
    """All that a body says, once, against its own spec; nothing is written to its drives."""
    for wanted in ("spec", *METHODS):
        if not hasattr(body, wanted) or (wanted in METHODS and not callable(getattr(body, wanted))):
            raise UserError(f"--body {name}: '{wanted}' is missing; see Body in contract/body.py")
    if not isinstance(body.spec, BodySpec):
        have = type(body.spec).__name__
        raise UserError(f"--body {name}: spec must be a BodySpec, not a {have}")
    joints = len(body.spec.joints)
    reading = _tried(name, "read", lambda: body.read(0))
    if not isinstance(reading, Reading):
        have = type(reading).__name__
        raise UserError(f"--body {name}: read() must return a Reading, not a {have}")
    for field in ("position_rad", "velocity_rad_s", "torque_nm"):
        _vector(name, f"read().{field}", getattr(reading, field), joints)
    if not isinstance(reading.effort, Effort):
        have = type(reading.effort).__name__
        raise UserError(f"--body {name}: read().effort must be an Effort, not a {have}")
    for field, integral in zip(Effort._fields, reading.effort, strict=True):
        if len(integral) != joints:
            have = f"{len(integral)} numbers"
            raise UserError(f"--body {name}: read().effort.{field} is {have}, not one a joint")
    _vector(name, "read().tool_m", reading.tool_m, 3)
    _vector(name, "hold()", _tried(name, "hold", body.hold), joints + 1)
    tool = _tried(name, "tool_position", lambda: body.tool_position(reading.position_rad))
    _vector(name, "tool_position()", tool, 3)
    return reading


def _tried(name: str, method: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        raise UserError(f"--body {name}: {method}: {_said(error)}") from None


def _vector(name: str, field: str, given: object, size: int) -> None:
    have = type(given).__name__
    if isinstance(given, np.ndarray):
        if given.dtype == np.float64 and given.shape == (size,):
            if not np.isfinite(given).all():
                raise UserError(f"--body {name}: {field} is not finite: {given}")
            return
        have = f"{given.dtype}[{', '.join(map(str, given.shape))}]"
    raise UserError(f"--body {name}: {field} is {have}; the body's spec needs float64[{size}]")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
