"""Export: the artefact computes what the network does, and says where it comes from."""

from dataclasses import replace

import numpy as np
import onnx
import onnx.reference
import pytest

from tierloop.cloud import export as module
from tierloop.cloud.export import PARITY, export, parity, to_onnx
from tierloop.contract.specs import ArraySpec, PolicySpec
from tierloop.policy.artefact import ArtefactError, DataRange, digest, pack, unpack
from tierloop.policy.engine import load
from tierloop.policy.mlp import Mlp

JOINTS = tuple(f"joint_{i}_rad" for i in range(1, 8))
SPEC = PolicySpec(
    task="sort",
    body="panda",
    observation=ArraySpec(
        name="observation",
        labels=(*JOINTS, *(f"feature_{i}" for i in range(20))),
        low=(-2.9,) * 7 + (-1.0,) * 20,
        high=(2.9,) * 7 + (1.0,) * 20,
    ),
    action=ArraySpec(
        name="action",
        labels=(*JOINTS, "suction"),
        low=(-2.5,) * 7 + (0.0,),
        high=(2.5,) * 7 + (1.0,),
    ),
    horizon=8,
    period_ns=50_000_000,
)
MLP = Mlp.random(SPEC, (64, 64), seed=0)
LINEAGE = {
    "version": 7,
    "parents": (5, 6),
    "software": "0.1",
    "seed": 3,
    "trained_on": (DataRange(device="arm-0", boot=2, first=0, last=41),),
    "samples": {"lived": 420, "twin": 1000},
    "metrics": {"gate_success": 0.9},
}


def features(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([SPEC.observation.sample(rng) for _ in range(rows)])


def test_the_graph_computes_what_the_network_does_by_the_reference_of_onnx():
    """Against onnx's own interpreter: a third opinion, so that both engines cannot err alike."""
    session = onnx.reference.ReferenceEvaluator(onnx.load_from_string(to_onnx(MLP)))
    x = features(50)
    (actions,) = session.run(None, {"observation": x})
    np.testing.assert_allclose(actions, MLP.forward(x), atol=1e-5)
    assert (actions == 2.5).any(), "some answers must touch the limits for this to mean anything"


@pytest.mark.parametrize("hidden", [(), (16,), (8, 8, 8)])
def test_any_depth_goes_out(hidden):
    artefact = export(Mlp.random(SPEC, hidden, seed=1), **LINEAGE)
    assert artefact.manifest.metrics["parity_max"] <= PARITY


def test_the_manifest_says_where_it_comes_from_and_survives_the_blob():
    artefact = export(MLP, **LINEAGE)
    manifest = unpack(pack(artefact)).manifest
    for field, value in LINEAGE.items():
        if field != "metrics":
            assert getattr(manifest, field) == value
    assert manifest.metrics == {
        "gate_success": 0.9,
        "parity_max": parity(artefact),
    }
    assert manifest.metrics["parity_max"] <= PARITY
    assert manifest.onnx_sha256 == digest(artefact.onnx)
    assert "parity_max" not in LINEAGE["metrics"]


def test_exporting_is_repeatable():
    assert pack(export(MLP, **LINEAGE)) == pack(export(MLP, **LINEAGE))


@pytest.mark.parametrize("field", ["mean", "scale", "weights"])
def test_two_forms_that_disagree_are_not_released(monkeypatch, field):
    def wrong(mlp: Mlp) -> bytes:
        value = getattr(mlp, field)
        off = tuple(w * np.float32(1.001) for w in value) if field == "weights" else value + 0.001
        return to_onnx(replace(mlp, **{field: off if field == "weights" else np.float32(off)}))

    monkeypatch.setattr(module, "to_onnx", wrong)
    with pytest.raises(ArtefactError) as caught:
        export(MLP, **LINEAGE)
    assert caught.value.reason == "parity"


def test_answers_that_are_no_numbers_are_not_released(monkeypatch):
    monkeypatch.setattr(module, "parity", lambda artefact: float("nan"))
    with pytest.raises(ArtefactError, match="parity"):
        export(MLP, **LINEAGE)


def test_batches_of_any_size_share_one_graph():
    policy = load(export(MLP, **LINEAGE), "onnx")
    for rows in (1, 3, 65):
        assert policy.act(features(rows)).shape == (rows, 8, 8)
