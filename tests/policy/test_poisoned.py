"""Policies that no honest cloud makes: refused by name, before a runtime has seen them."""

import time
import tracemalloc

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from policy_samples import SPEC, make_spec

from tierloop.cloud.export import export
from tierloop.contract.errors import SpecError
from tierloop.policy import pace
from tierloop.policy.artefact import Artefact, ArtefactError, digest, pack, unpack
from tierloop.policy.engine import load, warm_up
from tierloop.policy.mlp import LAYERS_MAX, WIDTH_MAX, Mlp
from tierloop.policy.pace import require_pace
from tierloop.policy.shelf import Shelf

MLP = Mlp.random(SPEC, (8,), seed=1)
GOOD = export(
    MLP, version=1, parents=(), software="t", seed=0, trained_on=(), samples={}, metrics={}
)
D, H, A = SPEC.observation.size, SPEC.horizon, SPEC.action.size
node = helper.make_node


def blob(model: onnx.ModelProto | None = None, mlp: bytes = GOOD.mlp, **changes) -> bytes:
    data = model.SerializeToString() if model else GOOD.onnx
    hashes = {"onnx_sha256": digest(data), "mlp_sha256": digest(mlp)}
    manifest = msgspec.structs.replace(GOOD.manifest, **hashes, **changes)
    return pack(Artefact(manifest, data, mlp))


def honest() -> onnx.ModelProto:
    return onnx.load_from_string(GOOD.onnx)


def grafted(nodes, constants) -> onnx.ModelProto:
    """The honest graph with more operations between its last two layers: "free" comes of "z"."""
    model = honest()
    at = next(i for i, n in enumerate(model.graph.node) if n.op_type == "Reshape")
    model.graph.node[at].input[0] = "z"
    for i, extra in enumerate(nodes):
        model.graph.node.insert(at + i, extra)
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    return model


def bomb():
    """[n, 1] - [1, n]: 4 n^2 bytes of 8 n, folded when a session is made."""
    n = 24_000
    nodes = [
        node("Sub", ["p", "q"], ["pq"]),
        node("Gemm", ["pq", "u"], ["s"]),
        node("Gemm", ["one", "s"], ["t"]),
        node("Max", ["flat", "t"], ["z"]),
    ]
    column, row = np.zeros((n, 1)), np.zeros((1, n))
    return grafted(nodes, {"p": column, "q": row, "u": column, "one": row})


def chain():
    return grafted(
        [node("Relu", [f"n{i}" if i else "flat"], [f"n{i + 1}"]) for i in range(20_000)]
        + [node("Relu", ["n20000"], ["z"])], {},
    )  # fmt: skip


def trigger():
    """NaN where the first joint is at 0.5, whatever was tried before."""
    return grafted(
        [
            node("Gemm", ["observation", "pick"], ["x"]),
            node("Sub", ["x", "half"], ["d"]),
            node("Div", ["d", "d"], ["one"]),
            node("Min", ["flat", "one"], ["z"]),
        ],
        {"pick": np.eye(D)[:, :1], "half": 0.5},
    )


def reshaped():
    model = honest()
    chunk = next(t for t in model.graph.initializer if t.name == "chunk")
    chunk.CopyFrom(numpy_helper.from_array(np.array([1, H, A * 2**40], np.int64), "chunk"))
    return model


def cyclic():
    model = honest()
    model.graph.node[3].input[0] = model.graph.node[4].output[0]
    return model


def disordered():
    model = honest()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    return model


def constant(**changes):
    """The honest graph with a constant `w0` whose description was changed."""
    model = honest()
    (w0,) = [t for t in model.graph.initializer if t.name == "w0"]
    for field, value in changes.items():
        if field == "dims":
            del w0.dims[:]
            w0.dims.extend(value)
        else:
            setattr(w0, field, value)
    return model


def twice():
    model = honest()
    model.graph.initializer.append(model.graph.initializer[0])
    return model


def unused():
    model = honest()
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(9, np.float32), "spare"))
    return model


def versions(opset=17, ir=8):
    model = honest()
    model.opset_import[0].version, model.ir_version = opset, ir
    return model


def other_names():
    model = honest()
    model.graph.input[0].name = "x" * 5_000_000
    return model


def two_opsets():
    model = honest()
    model.opset_import.append(helper.make_opsetid("", 6))
    return model


def attributes():
    model = honest()
    model.graph.node[3].attribute.append(helper.make_attribute("alpha", 1e30))
    return model


NAN = np.full((D, 8), np.nan, np.float32).tobytes()

POISON = {
    "broadcast": (bomb, "graph"),
    "20,000 operations": (chain, "graph"),
    "no number at one posture": (trigger, "graph"),
    "a shape of 2^40": (reshaped, "parity"),
    "in a circle": (cyclic, "graph"),
    "out of order": (disordered, "graph"),
    "negative size": (lambda: constant(dims=[-1, 8]), "parity"),
    "no size": (lambda: constant(dims=[]), "parity"),
    "size 2^62": (lambda: constant(dims=[2**62, 8]), "parity"),
    "too few bytes": (lambda: constant(raw_data=b"\0"), "parity"),
    "no numbers": (lambda: constant(raw_data=NAN), "parity"),
    "float64": (lambda: constant(data_type=TensorProto.DOUBLE), "parity"),
    "a constant twice": (twice, "graph"),
    "a constant too many": (unused, "graph"),
    "opset": (lambda: versions(opset=6), "graph"),
    "opset 2^62": (lambda: versions(opset=2**62), "graph"),
    "IR": (lambda: versions(ir=3), "graph"),
    "two opsets": (two_opsets, "graph"),
    "a name of 5 MB": (other_names, "spec"),
    "an attribute": (attributes, "graph"),
}


class MetError(BaseException):
    """No handler of the engine's takes it for a refusal."""


def meet(*_, **__):
    raise MetError


@pytest.mark.parametrize(("make", "reason"), POISON.values(), ids=POISON)
def test_a_graph_that_is_not_the_networks_never_meets_the_runtime(
    tmp_path, monkeypatch, make, reason
):
    monkeypatch.setattr(onnxruntime, "InferenceSession", meet)
    shelf, bad = Shelf(tmp_path, SPEC, "onnx"), blob(make())
    tracemalloc.start()
    begun_ns = time.thread_time_ns()
    try:
        with pytest.raises(ArtefactError) as caught:
            shelf.stage(bad, digest(bad))
        assert time.thread_time_ns() - begun_ns < 1e9
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert caught.value.reason == reason
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_honest_policy_is_taken(tmp_path):
    Shelf(tmp_path, SPEC, "onnx").stage(blob(), digest(blob()))


def test_other_weights_than_the_networks_are_refused_though_both_answer_well():
    other = export(
        Mlp.random(SPEC, (8,), seed=2), version=1, parents=(), software="t", seed=0,
        trained_on=(), samples={}, metrics={},
    )  # fmt: skip
    with pytest.raises(ArtefactError, match=r"^parity: constant w0 is not the network's w0$"):
        load(unpack(blob(mlp=other.mlp)), "onnx")


def test_a_network_that_overflows_somewhere_is_refused_though_no_sample_shows_it():
    """Two units of opposite sign, whose sum is no number only beyond ten deviations of one."""
    weights = (np.zeros((D, 2), np.float32), np.zeros((2, H * A), np.float32))
    weights[0][0] = 3e37
    weights[1][:] = [[10.0], [-10.0]]
    biases = (np.float32([-1.5e38, -1.5e38]), np.zeros(H * A, np.float32))
    mlp = Mlp(SPEC, MLP.mean, MLP.std, weights, biases, MLP.scale)
    samples = np.stack([SPEC.observation.sample(np.random.default_rng(i)) for i in range(64)])
    assert np.isfinite(mlp.forward(samples)).all()
    far = samples[:1] * 0 + np.float32(1e6)
    assert not np.isfinite(mlp.forward(far)).all()
    with pytest.raises(ArtefactError, match=r"^answer: "):
        load(unpack(blob(mlp=mlp.encode())), "numpy")


def test_what_a_network_holds_inside_never_passes_its_reach():
    mlp = Mlp.random(SPEC, (16, 16), seed=3)
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(256, D)) * 1e3).astype(np.float32)
    hidden = np.clip((features - mlp.mean) / mlp.std, -10, 10)
    most = 0.0
    for weight, bias in zip(mlp.weights, mlp.biases, strict=True):
        hidden = hidden @ weight + bias
        most = max(most, float(np.abs(hidden).max()))
        hidden = np.maximum(hidden, 0)
    assert most < mlp.reach < 1000 * most


@pytest.mark.parametrize("hidden", [(1,) * LAYERS_MAX, (WIDTH_MAX + 1,)])
def test_a_network_deeper_or_wider_than_an_edge_can_serve_is_none(hidden):
    with pytest.raises(SpecError, match=r"mlp: at most 16 layers, at most 4096 wide"):
        Mlp.random(SPEC, hidden, seed=0)


def test_a_spec_whose_base_no_artefact_could_hold_is_refused_before_it_is_made():
    wide = make_spec(features=3000, horizon=500)
    with pytest.raises(SpecError, match="3000 inputs by 1500 outputs"):
        Mlp.random(wide, (1,), seed=0)


def test_a_million_empty_layers_cost_no_memory():
    numbers = msgspec.msgpack.encode([b"", b"", b"", [[b"", b""]] * 1_000_000])
    tracemalloc.start()
    try:
        with pytest.raises(SpecError, match="length"):
            Mlp.decode(numbers, SPEC)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"software": "x" * 2_000_000}, "oversize"),
        ({"metrics": {"p": float("nan")}}, "malformed"),
        ({"metrics": {str(i): 0.0 for i in range(2000)}}, "malformed"),
        ({"samples": {str(i): 0 for i in range(2000)}}, "malformed"),
        ({"parents": tuple(range(2000))}, "malformed"),
    ],
    ids=["text", "nan", "metrics", "samples", "parents"],
)
def test_a_manifest_is_bounded_and_its_figures_are_numbers(changes, reason):
    with pytest.raises(ArtefactError) as caught:
        unpack(blob(**changes))
    assert caught.value.reason == reason


class Slow:
    version, spec = 1, SPEC

    def __init__(self, busy_ns):
        self.busy_ns = busy_ns

    def act(self, features):
        until_ns = time.thread_time_ns() + self.busy_ns
        while time.thread_time_ns() < until_ns:
            pass
        return np.zeros((len(features), H, A), np.float32)


def test_a_policy_that_needs_most_of_a_period_is_slow():
    require_pace(Slow(SPEC.period_ns // 10))
    with pytest.raises(ArtefactError, match=r"^slow: 64 answers take .* ms .*, at most 25$"):
        require_pace(Slow(SPEC.period_ns * 6 // 10))


def test_the_shelf_refuses_the_slow_and_keeps_what_it_took(tmp_path, monkeypatch):
    shelf = Shelf(tmp_path, SPEC, "numpy", require_pace)
    shelf.stage(blob(), digest(blob()))
    shelf.activate(1)
    monkeypatch.setattr(pace, "BUSY_MAX", 0.0)
    later = blob(version=2)
    with pytest.raises(ArtefactError, match=r"^slow"):
        shelf.stage(later, digest(later))
    assert Shelf(tmp_path, SPEC, "numpy").active().version == 1


def test_without_a_judge_of_pace_the_shelf_reads_no_clock(tmp_path, monkeypatch):
    def read(*_):
        raise AssertionError("a clock was read")

    for name in ("thread_time_ns", "process_time_ns", "monotonic_ns", "perf_counter_ns", "time"):
        monkeypatch.setattr(time, name, read)
    shelf = Shelf(tmp_path, SPEC, "numpy")
    shelf.stage(blob(), digest(blob()))
    shelf.activate(1)
    assert shelf.reload().version == 1


@pytest.mark.parametrize("posture", ["zero", "middle", "low", "high"])
def test_the_warm_up_asks_where_bodies_start(posture):
    low, high = np.float32(SPEC.observation.low), np.float32(SPEC.observation.high)
    bad = {"zero": 0 * low, "middle": (low + high) / 2, "low": low, "high": high}[posture]

    class Trap:
        version, spec = 1, SPEC

        def act(self, features):
            answer = np.zeros((len(features), H, A), np.float32)
            answer[(features == bad).all(axis=1)] = np.nan
            return answer

    with pytest.raises(ArtefactError, match=r"^answer"):
        warm_up(Trap())
