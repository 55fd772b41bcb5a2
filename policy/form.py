"""The ONNX form of a network: writes its graph, and checks whether a given graph is that one.

The cloud makes a policy's graph of this description, and whoever is handed both forms holds the
graph against it, operation by operation and bit by bit: what a runtime is to run is then bounded
as the network is, and does what the network does for every observation, not for those tried.
"""

import numpy as np

from tierloop.contract.specs import FloatArray, PolicySpec
from tierloop.policy.artefact import ArtefactError
from tierloop.policy.graph import FLOAT, INT64, Graph, GraphNode, Tensor, Value
from tierloop.policy.mlp import REACH, Mlp

INPUT, OUTPUT = "observation", "actions"
"""The names in the graph: float32[B, D] in, float32[B, H, A] out."""

OPSET, IR_VERSION = 17, 8
"""Old enough for every onnxruntime this project allows."""


def nodes(mlp: Mlp) -> tuple[GraphNode, ...]:
    """The operations in order.

    The base enters as the last layer's addend: a second, linear layer straight from the input.
    """
    last = len(mlp.weights) - 1
    hidden = [
        node
        for i in range(last)
        for node in (
            GraphNode("Gemm", (f"h{i}", f"w{i}", f"b{i}"), (f"z{i}",)),
            GraphNode("Relu", (f"z{i}",), (f"h{i + 1}",)),
        )
    ]
    return (
        GraphNode("Sub", (INPUT, "mean"), ("centred",)),
        GraphNode("Div", ("centred", "std"), ("scaled",)),
        GraphNode("Clip", ("scaled", "-reach", "reach"), ("h0",)),
        *hidden,
        GraphNode("Gemm", (INPUT, "skip", f"b{last}"), ("base",)),
        GraphNode("Gemm", (f"h{last}", f"w{last}", "base"), ("flat",)),
        GraphNode("Reshape", ("flat", "chunk"), ("free",)),
        GraphNode("Max", ("free", "low"), ("above",)),
        GraphNode("Min", ("above", "high"), (OUTPUT,)),
    )


def tensors(mlp: Mlp) -> dict[str, np.ndarray]:
    """The constants by name; `scale` is multiplied into the last layer."""
    last = len(mlp.weights) - 1
    found: dict[str, np.ndarray] = {}
    for i, (weight, bias) in enumerate(zip(mlp.weights, mlp.biases, strict=True)):
        factor: FloatArray = mlp.scale if i == last else np.ones(1, np.float32)
        found |= {f"w{i}": weight * factor, f"b{i}": bias * factor}
    low, high = mlp.limits
    return found | {
        "mean": mlp.mean,
        "std": mlp.std,
        "-reach": np.array(-REACH, np.float32),
        "reach": np.array(REACH, np.float32),
        "skip": mlp.skip,
        "chunk": np.array([-1, mlp.spec.horizon, mlp.spec.action.size], np.int64),
        "low": low,
        "high": high,
    }


def ends(spec: PolicySpec) -> tuple[Value, Value]:
    """The graph's input and output."""
    return (
        Value(INPUT, FLOAT, (-1, spec.observation.size)),
        Value(OUTPUT, FLOAT, (-1, spec.horizon, spec.action.size)),
    )


def require_ends(graph: Graph, spec: PolicySpec) -> None:
    """Raises ArtefactError (spec) unless the graph takes and gives what the spec says."""
    into, out = ends(spec)
    if (graph.inputs, graph.outputs) != ((into,), (out,)):
        given = ", ".join(_end(v) for v in (*graph.inputs[:4], *graph.outputs[:4]))
        raise ArtefactError("spec", f"the graph has {given}, the spec {_end(into)}, {_end(out)}")


def require(graph: Graph, mlp: Mlp) -> None:
    """Raises ArtefactError unless the graph is that of the network.

    Reason graph: another operation or version; parity: other numbers.
    """
    if (graph.ir_version, graph.opset) != (IR_VERSION, OPSET):
        found = f"IR version {graph.ir_version} and opset {graph.opset}"
        raise ArtefactError("graph", f"{found}, not {IR_VERSION} and {OPSET}")
    for i, (node, wanted) in enumerate(zip(graph.nodes, nodes(mlp), strict=False)):
        if node != wanted:
            raise ArtefactError("graph", f"operation {i} is {_told(node)}, not {_told(wanted)}")
    constants = tensors(mlp)
    counts = len(graph.nodes), len(graph.tensors)
    if counts != (needed := (len(nodes(mlp)), len(constants))):
        raise ArtefactError("graph", f"{counts} operations and constants, the network has {needed}")
    for (name, tensor), wanted_name in zip(graph.tensors, constants, strict=True):
        if name != wanted_name or tensor != _tensor(constants[name]):
            raise ArtefactError(
                "parity", f"constant {name[:40]} is not the network's {wanted_name}"
            )


def _end(value: Value) -> str:
    batch = "any batch" if value.shape[:1] == (-1,) else f"batches of {value.shape[:1]}"
    kind = "float32" if value.kind == FLOAT else f"element type {value.kind}"
    return f"{value.name} ({kind}, {batch}, {list(value.shape[1:])})"


def _told(node: GraphNode) -> str:
    extra = f" with {node.attributes} attributes" if node.attributes else ""
    return f"{node.operator}({', '.join(node.inputs)}){extra} -> {', '.join(node.outputs)}"


def _tensor(value: np.ndarray) -> Tensor:
    kind = INT64 if value.dtype == np.int64 else FLOAT
    raw = value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
    return Tensor(kind, value.shape, raw)
