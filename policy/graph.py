"""Checks the bytes of an ONNX graph before a runtime reads them: which nodes and sizes it may have.

onnxruntime reads files that a graph names as external data, even for a graph handed over as
bytes, and the edge does without the onnx package. So the protobuf is walked here, field by field,
against a list of what a policy needs; everything else is refused. Field numbers: onnx.proto.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tierloop.policy.artefact import ArtefactError

OPERATORS = frozenset({"Clip", "Div", "Gemm", "Max", "Min", "Relu", "Reshape", "Sub"})

FIELDS_MAX = 8192
"""Fields of one file, of all its messages; the deepest network of policy/mlp.py has a tenth."""

FLOAT, INT64 = 1, 7
"""Element types."""

_FIELDS: dict[str, dict[int, str]] = {
    "model": {1: "ir_version", 2: "producer", 3: "producer_version", 7: "graph", 8: "opset"},
    "opset": {1: "domain", 2: "version"},
    "graph": {1: "node", 2: "name", 5: "tensor", 11: "input_info", 12: "output_info"},
    "node": {1: "input", 2: "output", 3: "name", 4: "operator", 5: "attribute", 7: "domain"},
    "attribute": {1: "name", 2: "f", 3: "i", 20: "kind"},
    "tensor": {1: "dims", 2: "data_type", 8: "name", 9: "raw_data"},
    "input_info": {1: "name", 2: "type"},
    "output_info": {1: "name", 2: "type"},
    "type": {1: "tensor_type"},
    "tensor_type": {1: "elem_type", 2: "shape"},
    "shape": {1: "dim"},
    "dim": {1: "size", 2: "any_size"},
}
_NUMBERS = frozenset(
    {"ir_version", "version", "i", "kind", "data_type", "dims", "elem_type", "size"}
)
_MANY = frozenset(
    {"opset", "node", "tensor", "input_info", "output_info", "input", "output", "attribute"}
) | {"dims", "dim"}
_REASONS = {("tensor", 13): "external_data", ("tensor", 14): "external_data"}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

ProtoMessage = dict[str, list[Any]]
"""What a message holds, by field: numbers, bytes, messages."""


class GraphNode(NamedTuple):
    """One operation; `attributes` are counted only."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: int = 0


class Value(NamedTuple):
    """An input or output: element type and sizes, -1 where any will do."""

    name: str
    kind: int
    shape: tuple[int, ...]


class Tensor(NamedTuple):
    """A constant: element type, sizes, and its numbers as they lie in the file."""

    kind: int
    shape: tuple[int, ...]
    raw: bytes


class Graph(NamedTuple):
    """All that a runtime would act on."""

    ir_version: int
    opset: int
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[GraphNode, ...]
    tensors: tuple[tuple[str, Tensor], ...]


def check(onnx: bytes) -> Graph:
    """What the graph holds; refuses one with anything a policy does not need.

    Work and memory grow with FIELDS_MAX, not with the file. Raises ArtefactError with reason
    operator, domain, external_data or graph.
    """
    try:
        model = _walk("model", memoryview(onnx), _Budget())
        return _graph(model)
    except (IndexError, UnicodeDecodeError):
        raise ArtefactError("graph", "no protobuf") from None


class _Budget:
    """Fields that may still be read."""

    def __init__(self) -> None:
        self.left = FIELDS_MAX

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ArtefactError("graph", f"more than {FIELDS_MAX} fields")


def _walk(kind: str, data: memoryview, budget: _Budget) -> ProtoMessage:
    found: ProtoMessage = {}
    for number, value in fields(data):
        budget.spend()
        name = _FIELDS[kind].get(number)
        if name is None:
            reason = _REASONS.get((kind, number), "graph")
            raise ArtefactError(reason, f"field {number} of {kind}")
        if isinstance(value, int) != (name in _NUMBERS):
            raise ArtefactError("graph", f"{name} of {kind} has another type")
        if name in found and name not in _MANY:
            raise ArtefactError("graph", f"two of {name} in a {kind}")
        content = value if isinstance(value, int) else _content(name, value, budget)
        found.setdefault(name, []).append(content)
    return found


def _content(name: str, value: memoryview, budget: _Budget) -> ProtoMessage | memoryview:
    if name in _FIELDS:
        return _walk(name, value, budget)
    if name == "operator" and (operator := str(value, "utf-8")) not in OPERATORS:
        raise ArtefactError("operator", operator)
    if name == "domain" and (domain := str(value, "utf-8")):
        raise ArtefactError("domain", domain)
    return value


def _graph(model: ProtoMessage) -> Graph:
    (graph,), opsets = model.get("graph", [{}]), model.get("opset", [])
    if len(opsets) != 1:
        raise ArtefactError("graph", f"{len(opsets)} sets of operators, one is needed")
    return Graph(
        ir_version=_number(model, "ir_version"),
        opset=_number(opsets[0], "version"),
        inputs=tuple(_value(v) for v in graph.get("input_info", [])),
        outputs=tuple(_value(v) for v in graph.get("output_info", [])),
        nodes=tuple(
            GraphNode(_text(n, "operator"), _texts(n, "input"), _texts(n, "output"),
                 len(n.get("attribute", []))) for n in graph.get("node", [])
        ),
        tensors=tuple((_text(t, "name"), _tensor(t)) for t in graph.get("tensor", [])),
    )  # fmt: skip


def _tensor(tensor: ProtoMessage) -> Tensor:
    (raw,) = tensor.get("raw_data", [b""])
    return Tensor(_number(tensor, "data_type"), tuple(tensor.get("dims", [])), bytes(raw))


def _value(info: ProtoMessage) -> Value:
    (kind,) = info.get("type", [{}])
    (tensor,) = kind.get("tensor_type", [{}])
    (shape,) = tensor.get("shape", [{}])
    sizes = tuple(_number(dim, "size", -1) for dim in shape.get("dim", []))
    return Value(_text(info, "name"), _number(tensor, "elem_type"), sizes)


def _number(message: ProtoMessage, field: str, absent: int = 0) -> int:
    (value,) = message.get(field, [absent])
    return int(value)


def _text(message: ProtoMessage, field: str) -> str:
    return "".join(_texts(message, field))


def _texts(message: ProtoMessage, field: str) -> tuple[str, ...]:
    return tuple(str(value, "utf-8") for value in message.get(field, []))


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and content of each field of a message. Raises ArtefactError or IndexError."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ArtefactError("graph", f"wire type {wire}")
        if at + size > len(data):
            raise ArtefactError("graph", "truncated")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A base-128 number of at most 10 bytes and where it ends. Raises IndexError past the end."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ArtefactError("graph", "number too long")
