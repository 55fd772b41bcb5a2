"""The engine: computes answers with an artefact. Only this module imports onnxruntime.

What is loaded can answer no observation with anything but numbers: an artefact's graph must be
that of the network beside it, and no sum in the network may overflow.

`act` is a hot path: names are bound when loading, nothing is checked again, and a wrong shape
costs only the one who hands it over.
"""

from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import numpy as np

from tierloop.contract.errors import SpecError, UserError
from tierloop.contract.policy import Policy
from tierloop.contract.specs import ArraySpec, FloatArray
from tierloop.policy import form, graph
from tierloop.policy.artefact import Artefact, ArtefactError
from tierloop.policy.form import INPUT, OUTPUT
from tierloop.policy.mlp import Mlp
from tierloop.policy.work import work

EngineName = Literal["auto", "onnx", "numpy"]

WARM_ROWS = (1, 2, 16, 64)
"""Batch sizes on which a policy is tried before it may act."""

REACH_MAX = 1e37
"""A tenth of where a float32 ends: what rounding adds is far less."""


class NumpyPolicy:
    """Answers with numpy alone, for devices without a runtime."""

    def __init__(self, artefact: Artefact) -> None:
        self.spec = artefact.manifest.spec
        self.version = artefact.manifest.version
        self._mlp = _network(artefact)
        self.work = work(self.spec, self._mlp.hidden)
        self._inputs = self.spec.observation.size

    def act(self, features: FloatArray) -> FloatArray:
        """Observations float32[B, D] to setpoints float32[B, H, A]. Raises SpecError."""
        if features.ndim != 2 or features.shape[1] != self._inputs or features.dtype != np.float32:
            raise _misfit(self.spec.observation.size, features)
        return self._mlp.forward(features)


class _Bound(NamedTuple):
    """An engine's input and output for one batch size, and what binds them."""

    features: FloatArray
    actions: FloatArray
    binding: Any


class OnnxPolicy:
    """Answers with onnxruntime on one thread. Raises ArtefactError for a graph it refuses.

    One call at a time: each batch size has memory of its own, which all its calls share.
    """

    def __init__(self, artefact: Artefact) -> None:
        import onnxruntime

        self.spec = artefact.manifest.spec
        self.version = artefact.manifest.version
        self.work = work(self.spec, require_form(artefact).hidden)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(
                artefact.onnx, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ArtefactError("graph", str(error)) from None
        self._session = session
        self._bound: dict[int, _Bound] = {}

    def act(self, features: FloatArray) -> FloatArray:
        """Observations float32[B, D] to setpoints float32[B, H, A]. Raises SpecError."""
        bound = self._bound.get(len(features)) or self._bind(len(features))
        if features.shape != bound.features.shape or features.dtype != bound.features.dtype:
            raise _misfit(self.spec.observation.size, features)
        bound.features[:] = features
        try:
            self._session.run_with_iobinding(bound.binding)
        except Exception as error:
            raise _misfit(self.spec.observation.size, features) from error
        return bound.actions.copy()

    def _bind(self, rows: int) -> "_Bound":
        """Fixed memory for batches of `rows`, which spares the engine's checks and allocations."""
        spec, binding = self.spec, self._session.io_binding()
        features = np.zeros((rows, spec.observation.size), np.float32)
        actions = np.zeros((rows, spec.horizon, spec.action.size), np.float32)
        binding.bind_cpu_input(INPUT, features)
        binding.bind_output(OUTPUT, "cpu", 0, np.float32, actions.shape, actions.ctypes.data)
        self._bound[rows] = _Bound(features, actions, binding)
        return self._bound[rows]


def load(artefact: Artefact, backend: EngineName = "auto") -> Policy:
    """A policy from an unpacked artefact; "auto" takes onnxruntime where it is installed.

    Raises ArtefactError for a refused graph, UserError if "onnx" is asked for but not installed.
    """
    installed = find_spec("onnxruntime") is not None
    if backend == "onnx" and not installed:
        raise UserError(
            "engine: onnxruntime is not installed: pip install tierloop[edge], or use numpy"
        )
    if backend == "numpy" or not installed:
        return NumpyPolicy(artefact)
    return OnnxPolicy(artefact)


def require_form(artefact: Artefact) -> Mlp:
    """The network of an artefact, whose graph must be that network's; needs no runtime.

    Raises ArtefactError if it is another.
    """
    found = graph.check(artefact.onnx)
    form.require_ends(found, artefact.manifest.spec)
    mlp = _network(artefact)
    form.require(found, mlp)
    return mlp


def warm_up(policy: Policy) -> None:
    """Runs a policy on samples of its spec, so that the first real call finds everything in place.

    Among them are the middle, the corners and zero, where bodies start. Raises ArtefactError with
    reason answer unless every answer has the promised shape and lies within the action's limits.
    """
    spec = policy.spec
    rng = np.random.default_rng(0)
    begun = starts(spec.observation)
    for rows in WARM_ROWS:
        features = np.stack([spec.observation.sample(rng) for _ in range(rows)])
        _judge(policy, features)
        features[: len(begun)] = begun[:rows]
        _judge(policy, features)


def starts(spec: ArraySpec) -> FloatArray:
    """Zero as far as it lies within, the middle, and both corners of an observation."""
    low, high = np.array(spec.low), np.array(spec.high)
    return np.stack([np.clip(0.0, low, high), (low + high) / 2, low, high]).astype(np.float32)


def _judge(policy: Policy, features: FloatArray) -> None:
    spec, actions = policy.spec, policy.act(features)
    low, high = np.array(spec.action.low, np.float32), np.array(spec.action.high, np.float32)
    shape = (len(features), spec.horizon, spec.action.size)
    if actions.shape != shape or actions.dtype != np.float32:
        raise ArtefactError("answer", f"{actions.dtype}{list(actions.shape)}")
    if not ((actions >= low) & (actions <= high)).all():
        raise ArtefactError("answer", "outside the action's limits")


def _network(artefact: Artefact) -> Mlp:
    """Raises SpecError if it does not fit its spec, ArtefactError (answer) if it may overflow."""
    mlp = Mlp.decode(artefact.mlp, artefact.manifest.spec)
    if not mlp.reach <= REACH_MAX:
        raise ArtefactError("answer", f"sums of {mlp.reach:.1e} inside; some answer is no number")
    return mlp


def _misfit(inputs: int, features: FloatArray) -> SpecError:
    return SpecError(
        f"observation: expected float32[*, {inputs}], got {features.dtype}{list(features.shape)}"
    )
