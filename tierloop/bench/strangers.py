"""What a stranger brings: a policy as an ONNX file, and a body from any module."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from contract.body import Body, Embodiment, Reading
from contract.clock import NS_PER_MS
from contract.errors import UserError
from contract.specs import ArraySpec, FloatArray, PolicySpec

PERIOD_NS = 50 * NS_PER_MS
"""Between decisions of a body that does not say."""


class OnnxFile:
    """A stranger's graph: one float32 input [B, D], one float32 output [B, H, A] or [B, A].

    Raises UserError where it cannot be opened or is of another form, SpecError where it does not
    fit the body: the text names the field and both shapes.
    """

    version = 0

    def __init__(self, path: Path, spec: PolicySpec | None, body: Body) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}") from None
        except Exception as error:
            raise UserError(f"{path}: no policy: {str(error).splitlines()[0]}") from None
        into, out = self._session.get_inputs(), self._session.get_outputs()
        if len(into) != 1 or len(out) != 1:
            raise UserError(
                f"{path}: {len(into)} inputs and {len(out)} outputs; one each is needed"
            )
        self._name = into[0].name
        horizon = out[0].shape[1] if len(out[0].shape) == 3 else 1
        self.spec = spec or _plain_spec(body, horizon)
        observation, action = self.spec.observation.size, self.spec.action.size
        answers = [[self.spec.horizon, action], [action]][: 1 if self.spec.horizon > 1 else 2]
        _fit(path, "observation", into[0], [[observation]])
        _fit(path, "action", out[0], answers)

    def act(self, features: FloatArray) -> FloatArray:
        """Observations float32[B, D] to setpoints float32[B, H, A]."""
        (actions,) = self._session.run(None, {self._name: features})
        shaped: FloatArray = actions.reshape(-1, self.spec.horizon, self.spec.action.size)
        return shaped

    def bare(self, features: FloatArray) -> None:
        """The runtime alone."""
        self._session.run(None, {self._name: features})


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
        raise UserError(f"--body {name}: {error}; run this where it can be imported") from None
    except Exception as error:
        said = (str(error).splitlines() or [""])[0]
        raise UserError(f"--body {name}: {type(error).__name__}: {said}") from None
    finally:
        sys.path.pop(0)
    if all(hasattr(made, field) for field in Embodiment._fields):
        return Embodiment(made.body, made.perceiver, made.policy), made.body
    lacking = [n for n in ("spec", "read", "write", "hold", "close", "tool_position")
               if not hasattr(made, n)]  # fmt: skip
    if lacking:
        raise UserError(f"--body {name}: a body has '{lacking[0]}', see contract/body.py")
    return None, made


def _fit(path: Path, field: str, given: Any, wanted: list[list[int]]) -> None:
    """The first dimension is the batch's; names are of any size."""
    tail = given.shape[1:]
    fits = given.type == "tensor(float)" and any(
        len(tail) == len(want) and all(isinstance(g, str | None) or g == w
                                       for g, w in zip(tail, want, strict=True))
        for want in wanted
    )  # fmt: skip
    if not fits:
        have = ", ".join(str(size) for size in ("*", *tail))
        want = ", ".join(str(size) for size in ("*", *wanted[0]))
        kind = given.type.removeprefix("tensor(").removesuffix(")")
        kind = "float32" if kind == "float" else kind
        raise UserError(f"{path}: {field} is {kind}[{have}], the body's is float32[{want}]")


def _plain_spec(body: Body, horizon: object) -> PolicySpec:
    """What follows from a body alone: joints in, setpoints and switch out."""
    spec = body.spec
    low, high, speed = spec.position_low_rad, spec.position_high_rad, spec.velocity_rad_s
    positions = tuple(f"{joint}_rad" for joint in spec.joints)
    speeds = tuple(f"{joint}_rad_s" for joint in spec.joints)
    return PolicySpec(
        task="own",
        body=spec.name,
        observation=ArraySpec(
            name="observation", labels=positions + speeds,
            low=(*low, *(-s for s in speed)), high=(*high, *speed),
        ),
        action=ArraySpec(
            name="action", labels=(*positions, "switch"), low=(*low, 0.0), high=(*high, 1.0)
        ),
        horizon=horizon if isinstance(horizon, int) and horizon > 0 else 1,
        period_ns=PERIOD_NS,
    )  # fmt: skip
