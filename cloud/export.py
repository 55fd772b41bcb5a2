"""Export: a trained network becomes an artefact, with normaliser, base and limits baked in."""

from collections.abc import Iterator

import numpy as np
import onnx
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from contract.specs import FloatArray
from policy import graph
from policy.artefact import Artefact, ArtefactError, DataRange, Manifest, digest
from policy.engine import INPUT, OUTPUT, load
from policy.mlp import REACH, Mlp

OPSET, IR_VERSION = 17, 8
"""Old enough for every onnxruntime this project allows."""

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

    The base enters as the last layer's addend: a second, linear layer straight from the input.
    """
    spec = mlp.spec
    tensors = dict(_tensors(mlp))
    nodes = [
        helper.make_node("Sub", [INPUT, "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "-reach", "reach"], ["h0"]),
    ]
    last = len(mlp.weights) - 1
    for i in range(last):
        nodes.append(helper.make_node("Gemm", [f"h{i}", f"w{i}", f"b{i}"], [f"z{i}"]))
        nodes.append(helper.make_node("Relu", [f"z{i}"], [f"h{i + 1}"]))
    nodes += [
        helper.make_node("Gemm", [INPUT, "skip", f"b{last}"], ["base"]),
        helper.make_node("Gemm", [f"h{last}", f"w{last}", "base"], ["flat"]),
        helper.make_node("Reshape", ["flat", "chunk"], ["free"]),
        helper.make_node("Max", ["free", "low"], ["above"]),
        helper.make_node("Min", ["above", "high"], [OUTPUT]),
    ]
    shape_in = ["B", spec.observation.size]
    shape_out = ["B", spec.horizon, spec.action.size]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "policy",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape_in)],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape_out)],
            [numpy_helper.from_array(value, name) for name, value in tensors.items()],
        ),
        producer_name="tierloop",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    graph.check(data)
    return data


def _tensors(mlp: Mlp) -> Iterator[tuple[str, np.ndarray]]:
    """The constants by name; `scale` is multiplied into the last layer."""
    last = len(mlp.weights) - 1
    for i, (weight, bias) in enumerate(zip(mlp.weights, mlp.biases, strict=True)):
        factor = mlp.scale if i == last else np.float32(1)
        yield f"w{i}", weight * factor
        yield f"b{i}", bias * factor
    yield "mean", mlp.mean
    yield "std", mlp.std
    yield "-reach", np.array(-REACH, np.float32)
    yield "reach", np.array(REACH, np.float32)
    yield "skip", mlp.skip
    yield "chunk", np.array([-1, mlp.spec.horizon, mlp.spec.action.size], np.int64)
    yield "low", mlp.limits[0]
    yield "high", mlp.limits[1]


def parity(artefact: Artefact, samples: int = 256) -> float:
    """The largest difference between the two engines on samples of the spec, relative above 1."""
    rng = np.random.default_rng(artefact.manifest.seed)
    observation = artefact.manifest.spec.observation
    features: FloatArray = np.stack([observation.sample(rng) for _ in range(samples)])
    runtime, plain = (load(artefact, backend).act(features) for backend in ("onnx", "numpy"))
    return float(np.max(np.abs(runtime - plain) / np.maximum(np.abs(plain), 1)))
