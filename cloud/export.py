"""Turns a trained network into an artefact, with normaliser, base and limits inside it."""

import numpy as np
import onnx
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from tierloop.contract.specs import FloatArray
from tierloop.policy import form
from tierloop.policy.artefact import Artefact, ArtefactError, DataRange, Manifest, digest
from tierloop.policy.engine import load
from tierloop.policy.graph import Value
from tierloop.policy.mlp import Mlp

PARITY = 1e-5
"""How far the two forms of a network may differ, relative to values above 1."""


def export(
    mlp: Mlp,
    *,
    version: int,
    parents: tuple[int, ...],
    software: str,
    seed: int,
    trained_on: tuple[DataRange, ...],
    samples: dict[str, int],
    metrics: dict[str, float],
) -> Artefact:
    """The artefact of `mlp`, checked; its metrics gain `parity_max`.

    Raises ArtefactError with reason parity if onnxruntime and numpy disagree by more than PARITY
    on samples of the spec.
    """
    model, numbers = to_onnx(mlp), mlp.encode()
    artefact = Artefact(
        Manifest(
            version=version,
            spec=mlp.spec,
            parents=parents,
            software=software,
            seed=seed,
            trained_on=trained_on,
            samples=samples,
            metrics=metrics,
            onnx_sha256=digest(model),
            mlp_sha256=digest(numbers),
        ),
        model,
        numbers,
    )
    parity_max = parity(artefact)
    if not parity_max <= PARITY:
        raise ArtefactError("parity", f"{parity_max:.2g}, at most {PARITY:.0e}")
    measured = replace(artefact.manifest, metrics=metrics | {"parity_max": parity_max})
    return artefact._replace(manifest=measured)


def to_onnx(mlp: Mlp) -> bytes:
    """The network as an ONNX model: float32[B, D] `observation` in, float32[B, H, A] `actions` out.

    It is the graph that policy/form.py describes, and every edge holds it against.
    """
    into, out = form.ends(mlp.spec)
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(node.operator, node.inputs, node.outputs)
                for node in form.nodes(mlp)
            ],
            "policy",
            [_info(into)],
            [_info(out)],
            [numpy_helper.from_array(value, name) for name, value in form.tensors(mlp).items()],
        ),
        producer_name="tierloop",
        opset_imports=[helper.make_opsetid("", form.OPSET)],
        ir_version=form.IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _info(value: Value) -> onnx.ValueInfoProto:
    shape = ["B" if size < 0 else size for size in value.shape]
    return helper.make_tensor_value_info(value.name, TensorProto.FLOAT, shape)


def parity(artefact: Artefact, samples: int = 256) -> float:
    """The largest difference between the two engines on samples of the spec, relative above 1."""
    rng = np.random.default_rng(artefact.manifest.seed)
    observation = artefact.manifest.spec.observation
    features: FloatArray = np.stack([observation.sample(rng) for _ in range(samples)])
    runtime, plain = (load(artefact, backend).act(features) for backend in ("onnx", "numpy"))
    return float(np.max(np.abs(runtime - plain) / np.maximum(np.abs(plain), 1)))
