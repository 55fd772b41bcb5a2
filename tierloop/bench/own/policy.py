"""A stranger's policy: an ONNX file, opened and tried once before anything is measured."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from tierloop.bench.own import foreign
from tierloop.bench.own.trial import Trial, TrialError, open_session, trial
from tierloop.contract.body import Body
from tierloop.contract.clock import NS_PER_MS
from tierloop.contract.errors import UserError
from tierloop.contract.specs import ArraySpec, FloatArray, PolicySpec
from tierloop.policy.engine import starts
from tierloop.stack.config.toml import check_file

PERIOD_NS = 50 * NS_PER_MS
"""Between decisions of a body that does not say."""

FLOAT = "tensor(float)"

BYTES_MAX = 2 * 10**9
"""Of a graph and its weights: what protobuf holds in one file, and three times it for the trial."""


class OnnxFile:
    """A stranger's graph: one float32 input [B, D], one float32 output [B, H, A] or [B, A].

    Raises UserError where it cannot be opened, is of another form, has a memory or weights outside
    of its folder, or does not fit the body: one line with the field and both shapes or orders.
    """

    version = 0
    work = None

    def __init__(self, path: Path, spec: PolicySpec | None, body: Body) -> None:
        import onnxruntime

        data = _content(path)
        about = foreign.read(path, data)
        foreign.require_no_memory(path, about)
        weights = len(data) + foreign.weigh(path, about)
        _require_size(path, weights)
        observation = (spec or _plain_spec(body, 1)).observation
        try:
            tried = trial(str(path), _postures(observation), weights)
        except TrialError as error:
            raise UserError(f"{path}: not a usable policy: {error}") from None
        self.spec = _fitted(path, tried, spec, body)
        labels = {
            "joint": body.spec.joints,
            "observation": self.spec.observation.labels,
            "action": self.spec.action.labels,
        }
        foreign.require_names(path, about, labels)
        if tried.wrong:
            raise UserError(f"{path}: not a usable policy: {tried.wrong}")
        self._name = tried.inputs[0][0]
        self._session = open_session(onnxruntime, str(path))

    def act(self, features: FloatArray) -> FloatArray:
        """Observations float32[B, D] to setpoints float32[B, H, A]."""
        (actions,) = self._session.run(None, {self._name: features})
        shaped: FloatArray = actions.reshape(-1, self.spec.horizon, self.spec.action.size)
        return shaped

    def bare(self, features: FloatArray) -> None:
        """The runtime alone."""
        self._session.run(None, {self._name: features})


def _content(path: Path) -> bytes:
    check_file(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            _require_size(path, size)
            return file.read(size)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def _require_size(path: Path, size: int) -> None:
    if size > BYTES_MAX:
        said = f"{size / 1e9:.3g} GB with its weights; at most {BYTES_MAX / 1e9:g} GB are allowed"
        raise UserError(f"{path}: not a usable policy: {said}")


def _postures(observation: ArraySpec) -> FloatArray:
    """Where bodies start, and some others."""
    rng = np.random.default_rng(0)
    others = [observation.sample(rng) for _ in range(8)]
    return np.concatenate([starts(observation), others])


def _fitted(path: Path, tried: Trial, spec: PolicySpec | None, body: Body) -> PolicySpec:
    """The spec that the graph serves. Raises UserError."""
    into, out = tried.inputs, tried.outputs
    if len(into) != 1 or len(out) != 1:
        raise UserError(
            f"{path}: {len(into)} inputs and {len(out)} outputs; expected one of each "
            "(stateful policies, which take and return their state, are not supported)"
        )
    size = spec.observation.size if spec else 2 * len(body.spec.joints)
    action = spec.action.size if spec else len(body.spec.joints) + 1
    _fit(path, "observation", into[0][1], into[0][2], [["*", size]])
    if tried.failed and out[0][1] == FLOAT:
        raise UserError(f"{path}: does not run on float32[1, {size}]: {tried.failed}")
    shape = tried.shape if out[0][1] == FLOAT else out[0][2]
    if shape[:1] == [1]:
        shape = ["*", *shape[1:]]
    horizon: int | str = spec.horizon if spec else "H"
    answers: list[list[int | str]] = [["*", horizon, action], ["*", action]]
    _fit(path, "action", out[0][1], shape, answers if horizon in ("H", 1) else answers[:1])
    return spec or _plain_spec(body, int(shape[1]) if len(shape) == 3 else 1)


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
    raise UserError(f"{path}: {field} is {kind}[{have}]; the body needs float32[{want}]")


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
