"""The engines: one conformance suite, and what each refuses at the door."""

import os
import subprocess
import sys

import msgspec
import numpy as np
import onnx
import pytest
from policy_samples import SPEC, make_artefact, make_features, make_spec

from tierloop.cloud.export import export
from tierloop.contract.errors import UserError
from tierloop.contract.policy import Policy
from tierloop.contract.specs import FloatArray
from tierloop.policy import engine
from tierloop.policy.artefact import Artefact, ArtefactError, digest
from tierloop.policy.engine import NumpyPolicy, OnnxPolicy, load, warm_up
from tierloop.policy.mlp import Mlp
from tierloop.policy.suite import PolicySuite

MLP = Mlp.random(SPEC, (16, 16), seed=1)
ARTEFACT = export(
    MLP, version=3, parents=(1,), software="t", seed=0, trained_on=(), samples={}, metrics={}
)


class Still:
    """A fake that stays where it is: the base alone."""

    spec = SPEC
    version = 0
    work = None

    def act(self, features: FloatArray) -> FloatArray:
        if features.ndim != 2 or features.shape[1] != 6 or features.dtype != np.float32:
            raise engine._misfit(6, features)
        with np.errstate(invalid="ignore"):
            chunk = (features @ MLP.skip).reshape(-1, 3, 3)
        return np.clip(chunk, *MLP.limits)


class TestOnnx(PolicySuite):
    def make(self) -> Policy:
        return load(ARTEFACT, "onnx")


class TestNumpy(PolicySuite):
    def make(self) -> Policy:
        return load(ARTEFACT, "numpy")


class TestFake(PolicySuite):
    def make(self) -> Policy:
        return Still()


def graph_changed(change) -> Artefact:
    model = onnx.load_from_string(ARTEFACT.onnx)
    change(model)
    data = model.SerializeToString()
    manifest = msgspec.structs.replace(ARTEFACT.manifest, onnx_sha256=digest(data))
    return ARTEFACT._replace(manifest=manifest, onnx=data)


def test_both_backends_agree_and_carry_the_version():
    x = make_features(SPEC, 32)
    runtime, plain = load(ARTEFACT, "onnx"), load(ARTEFACT, "numpy")
    np.testing.assert_allclose(runtime.act(x), plain.act(x), atol=1e-5)
    assert runtime.version == plain.version == 3
    assert np.ptp(plain.act(x)) > 0.1


def test_auto_takes_the_runtime_where_there_is_one(monkeypatch):
    assert isinstance(load(ARTEFACT), OnnxPolicy)
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    assert isinstance(load(ARTEFACT), NumpyPolicy)
    with pytest.raises(UserError, match="onnxruntime is not installed"):
        load(ARTEFACT, "onnx")


def test_the_runtime_writes_nothing_below_the_users_home(tmp_path):
    """Left to itself it keeps an identifier and a database of reports there."""
    own = {
        name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))
    }
    code = "import tierloop, onnxruntime; onnxruntime.get_available_providers()"
    subprocess.run([sys.executable, "-c", code], env=own | {"HOME": str(tmp_path)}, check=True)
    assert [*tmp_path.rglob("*")] == []


def test_numpy_neither_imports_the_runtime_nor_reads_the_graph(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    warm_up(load(make_artefact(), "numpy"))


def _operator(model):
    model.graph.node[4].op_type = "Sigmoid"


def _external(model):
    model.graph.initializer[0].data_location = 1


def _nameless(model):
    model.graph.node[4].ClearField("op_type")


def _dangling(model):
    model.graph.node[0].input[0] = "nowhere"


def _renamed(model):
    model.graph.input[0].name = model.graph.node[0].input[0] = "x"
    next(n for n in model.graph.node if n.output[0] == "base").input[0] = "x"


def _second_output(model):
    model.graph.output.append(model.graph.output[0])
    model.graph.output[1].name = "flat"
    del model.graph.output[1].type.tensor_type.shape.dim[2]


def _fixed_batch(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_operator, "operator"),
        (_external, "external_data"),
        (_dangling, "graph"),
        (_nameless, "graph"),
        (_renamed, "spec"),
        (_second_output, "spec"),
    ],
)
def test_a_bad_graph_is_refused_by_name(change, reason):
    with pytest.raises(ArtefactError) as caught:
        load(graph_changed(change), "onnx")
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


def test_a_graph_of_another_spec_is_refused():
    manifest = msgspec.structs.replace(ARTEFACT.manifest, spec=make_spec(horizon=9))
    with pytest.raises(ArtefactError, match=r"spec: .*\[3, 3\].*\[9, 3\]"):
        load(ARTEFACT._replace(manifest=manifest), "onnx")


class Answering(Still):
    def __init__(self, answer: FloatArray) -> None:
        self._answer = answer

    def act(self, features: FloatArray) -> FloatArray:
        return np.repeat(self._answer, len(features), axis=0)


@pytest.mark.parametrize(
    "answer",
    [
        np.full((1, 3, 3), np.nan, np.float32),
        np.full((1, 3, 3), 1.5, np.float32),
        np.full((1, 3, 3), -0.1, np.float32),
        np.zeros((1, 2, 3), np.float32),
        np.zeros((1, 3, 3)),
    ],
    ids=["nan", "above", "below", "shape", "dtype"],
)
def test_warming_up_refuses_a_policy_that_answers_badly(answer):
    warm_up(Answering(np.zeros((1, 3, 3), np.float32)))
    with pytest.raises(ArtefactError) as caught:
        warm_up(Answering(answer))
    assert caught.value.reason == "answer"


def test_a_fixed_batch_in_the_graph_is_found_by_warming_up():
    with pytest.raises((ArtefactError, UserError)):
        warm_up(load(graph_changed(_fixed_batch), "onnx"))
