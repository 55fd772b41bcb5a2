"""What an ONNX graph may contain, checked on its bytes before a runtime sees them.

onnxruntime reads files that a graph names as external data, even for a graph handed over as
bytes, and the edge does without the onnx package. So the protobuf is walked here, field by field,
against a list of what a policy needs; everything else is refused. Field numbers: onnx.proto.
"""

from collections.abc import Iterator

from policy.artefact import ArtefactError

OPERATORS = frozenset({"Clip", "Div", "Gemm", "Max", "Min", "Relu", "Reshape", "Sub"})

_FIELDS: dict[str, dict[int, str]] = {
    "model": {1: "ir_version", 2: "producer", 3: "producer_version", 7: "graph", 8: "opset"},
    "opset": {1: "domain", 2: "version"},
    "graph": {1: "node", 2: "name", 5: "tensor", 11: "input", 12: "output"},
    "node": {1: "input", 2: "output", 3: "name", 4: "operator", 5: "attribute", 7: "domain"},
    "attribute": {1: "name", 2: "f", 3: "i", 20: "type"},
    "tensor": {1: "dims", 2: "data_type", 8: "name", 9: "raw_data"},
}
_REASONS = {("tensor", 13): "external_data", ("tensor", 14): "external_data"}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check(onnx: bytes) -> None:
    """Refuses a graph with anything a policy does not need.

    Raises ArtefactError with reason operator, domain, external_data or graph.
    """
    try:
        _walk("model", memoryview(onnx))
    except (IndexError, UnicodeDecodeError):
        raise ArtefactError("graph", "no protobuf") from None


def _walk(kind: str, data: memoryview) -> None:
    for number, value in _fields(data):
        name = _FIELDS[kind].get(number)
        if name is None:
            reason = _REASONS.get((kind, number), "graph")
            raise ArtefactError(reason, f"field {number} of {kind}")
        if name in _FIELDS:
            _walk(name, value)
        elif name == "operator" and (operator := str(value, "utf-8")) not in OPERATORS:
            raise ArtefactError("operator", operator)
        elif name == "domain" and (domain := str(value, "utf-8")):
            raise ArtefactError("domain", domain)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field; the content of a number is left out."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == _VARINT:
            size, (_, end) = 0, _varint(data, at)
        elif wire == _BYTES:
            size, at = _varint(data, at)
            end = at + size
        elif wire in (_FIXED32, _FIXED64):
            size, end = 0, at + (4 if wire == _FIXED32 else 8)
        else:
            raise ArtefactError("graph", f"wire type {wire}")
        if end > len(data):
            raise ArtefactError("graph", "truncated")
        yield key >> 3, data[at : at + size]
        at = end


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
