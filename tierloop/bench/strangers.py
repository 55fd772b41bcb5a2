"""A stranger's policy: an ONNX file, opened and tried once before anything is measured."""

from pathlib import Path
from typing import Any

import numpy as np

from contract.body import Body
from contract.clock import NS_PER_MS
from contract.errors import UserError
from contract.specs import ArraySpec, FloatArray, PolicySpec

PERIOD_NS = 50 * NS_PER_MS
"""Between decisions of a body that does not say."""

FLOAT = "tensor(float)"


class OnnxFile:
    """A stranger's graph: one float32 input [B, D], one float32 output [B, H, A] or [B, A].

    Raises UserError where it cannot be opened, is of another form, or does not fit the body: one
    line with the field and both shapes.
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
        size = spec.observation.size if spec else 2 * len(body.spec.joints)
        action = spec.action.size if spec else len(body.spec.joints) + 1
        _fit(path, "observation", into[0].type, into[0].shape, [["*", size]])
        shape = self._tried(path, size) if out[0].type == FLOAT else out[0].shape
        horizon: int | str = spec.horizon if spec else "H"
        answers: list[list[int | str]] = [["*", horizon, action], ["*", action]]
        _fit(path, "action", out[0].type, shape, answers if horizon in ("H", 1) else answers[:1])
        self.spec = spec or _plain_spec(body, int(shape[1]) if len(shape) == 3 else 1)

    def _tried(self, path: Path, size: int) -> list[int | str]:
        """The shape of the answer to one observation, whatever the graph declares."""
        try:
            (answer,) = self._session.run(None, {self._name: np.zeros((1, size), np.float32)})
        except Exception as error:
            said = str(error).splitlines()[0]
            raise UserError(f"{path}: does not run on float32[1, {size}]: {said}") from None
        return ["*" if answer.shape[:1] == (1,) else answer.shape[0], *answer.shape[1:]]

    def act(self, features: FloatArray) -> FloatArray:
        """Observations float32[B, D] to setpoints float32[B, H, A]."""
        (actions,) = self._session.run(None, {self._name: features})
        shaped: FloatArray = actions.reshape(-1, self.spec.horizon, self.spec.action.size)
        return shaped

    def bare(self, features: FloatArray) -> None:
        """The runtime alone."""
        self._session.run(None, {self._name: features})


def _fit(
    path: Path, field: str, kind: str, given: list[Any], wanted: list[list[int | str]]
) -> None:
    """`given`: sizes, names where any size will do, or 1 for the batch; the same rank is named."""
    alike = [want for want in wanted if len(want) == len(given)]
    if kind == FLOAT and any(
        all(not isinstance(g, int) or g == w or w == "H" or (at == 0 and g == 1)
            for at, (g, w) in enumerate(zip(given, want, strict=True)))
        for want in alike
    ):  # fmt: skip
        return
    have = ", ".join(str(size) if isinstance(size, int) else "*" for size in given)
    want = ", ".join(map(str, (alike or wanted)[0]))
    kind = kind.removeprefix("tensor(").removesuffix(")")
    kind = {"float": "float32", "double": "float64"}.get(kind, kind)
    raise UserError(f"{path}: {field} is {kind}[{have}], the body's is float32[{want}]")


def _plain_spec(body: Body, horizon: int) -> PolicySpec:
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
        horizon=horizon,
        period_ns=PERIOD_NS,
    )  # fmt: skip
