"""The check on ONNX bytes: what it lets through and what it names, against the onnx package."""

from contextlib import suppress

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from policy_samples import SPEC

from tierloop.cloud.export import to_onnx
from tierloop.policy import graph
from tierloop.policy.artefact import ArtefactError
from tierloop.policy.mlp import Mlp

GOOD = to_onnx(Mlp.random(SPEC, (8,), seed=0))


def reason(model: onnx.ModelProto | bytes) -> str:
    data = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(ArtefactError) as caught:
        graph.check(data)
    return caught.value.reason


@pytest.fixture
def model() -> onnx.ModelProto:
    return onnx.load_from_string(GOOD)


def test_a_policy_passes_and_uses_every_allowed_operator(model):
    graph.check(GOOD)
    assert {node.op_type for node in model.graph.node} == graph.OPERATORS


@pytest.mark.parametrize("operator", ["If", "Loop", "Conv", "PyOp", "gemm", ""])
def test_an_operator_outside_the_list(model, operator):
    model.graph.node[3].op_type = operator
    assert reason(model) == "operator"


def test_external_data(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../weights.bin"
    assert reason(model) == "external_data"
    tensor.ClearField("external_data")
    assert reason(model) == "external_data"


def test_custom_domains(model):
    model.graph.node[0].domain = "com.example"
    assert reason(model) == "domain"
    other = onnx.load_from_string(GOOD)
    other.opset_import.append(helper.make_opsetid("com.example", 1))
    assert reason(other) == "domain"


def test_hidden_rooms(model):
    """Functions, sub-graphs, sparse tensors, training information: nothing a policy needs."""
    inner = helper.make_graph([helper.make_node("Loop", ["a"], ["b"])], "inner", [], [])
    with_graph = onnx.load_from_string(GOOD)
    with_graph.graph.node[0].attribute.append(helper.make_attribute("body", inner))
    with_function = onnx.load_from_string(GOOD)
    with_function.functions.add().name = "Gemm"
    with_sparse = onnx.load_from_string(GOOD)
    with_sparse.graph.sparse_initializer.add().dims.append(1 << 40)
    with_training = onnx.load_from_string(GOOD)
    with_training.training_info.add()
    with_tensor = onnx.load_from_string(GOOD)
    constant = numpy_helper.from_array(np.zeros(1, np.float32))
    with_tensor.graph.node[0].attribute.append(helper.make_attribute("value", constant))
    for bad in (with_graph, with_function, with_sparse, with_training, with_tensor):
        assert reason(bad) == "graph"


def test_attributes_of_numbers_pass(model):
    model.graph.node[3].attribute.append(helper.make_attribute("alpha", 1.0))
    model.graph.node[3].attribute.append(helper.make_attribute("transB", 0))
    graph.check(model.SerializeToString())


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04K\x01.",
        b"\x3a\xff\xff\xff\xff\x0f",
        b"\x3b",
        b"\x3a",
        b"\x09\x00",
        b"\x08" + b"\xff" * 11,
    ],
    ids=["pickle", "longer than the file", "group", "no length", "cut number", "endless number"],
)
def test_no_protobuf(data):
    assert reason(data) == "graph"


@given(st.binary(max_size=60))
def test_noise_raises_nothing_else(data):
    with suppress(ArtefactError):
        graph.check(data)


@pytest.mark.untraced
def test_no_flipped_bit_makes_a_forbidden_graph_pass():
    passed = 0
    for bit in range(0, len(GOOD) * 8, 3):
        data = bytearray(GOOD)
        data[bit // 8] ^= 1 << bit % 8
        try:
            graph.check(bytes(data))
            model = onnx.load_from_string(bytes(data))
        except (ArtefactError, DecodeError):
            continue
        passed += 1
        assert {n.op_type for n in model.graph.node} <= graph.OPERATORS | {""}
        assert not any(t.external_data or t.data_location for t in model.graph.initializer)
        assert not any(a.HasField("g") for n in model.graph.node for a in n.attribute)
        assert not model.functions
    assert passed > 300, "weights may flip; the artefact's hash is what finds that"
