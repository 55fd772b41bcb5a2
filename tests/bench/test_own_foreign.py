"""A stranger's graph goes through the shelf's kind of checks: what it names, needs and answers."""

import os
import resource
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tierloop.bench.own import measure, policy, trial
from tierloop.bench.own.body import embody
from tierloop.bench.own.policy import OnnxFile
from tierloop.contract.errors import UserError

WEIGHT = np.full((4, 3), 0.01, np.float32)
node, info = helper.make_node, helper.make_tensor_value_info


def model(nodes=(), constants=None, inputs=(), outputs=(), metadata=None) -> onnx.ModelProto:
    """Four numbers in, three out: `x` times a constant `w`, unless `nodes` say otherwise."""
    constants = {"w": WEIGHT} if constants is None else constants
    made = helper.make_model(
        helper.make_graph(
            nodes or [node("MatMul", ["x", "w"], ["y"])],
            "g",
            [info("x", TensorProto.FLOAT, ["B", 4]), *inputs],
            [info("y", TensorProto.FLOAT, ["B", 3]), *outputs],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    helper.set_model_props(made, metadata or {})
    return made


def external(location: str) -> onnx.ModelProto:
    made = model()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return made


def load(path: Path, made: onnx.ModelProto | None = None) -> OnnxFile:
    if made is not None:
        path.write_bytes(made.SerializeToString())
    return OnnxFile(path, None, embody("my_package:MyBody")[1])


def refused(path: Path, made: onnx.ModelProto | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load(path, made)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def recurrent(operator: str) -> onnx.ModelProto:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[operator]
    return model(
        [
            node("Unsqueeze", ["x", "at"], ["s"]),
            node(operator, ["s", "w", "r"], ["all", "last"], hidden_size=3),
            node("Squeeze", ["last", "at"], ["y"]),
        ],
        {
            "w": np.zeros((1, 3 * gates, 4), np.float32),
            "r": np.zeros((1, 3 * gates, 3), np.float32),
            "at": np.array([0]),
        },
    )


@pytest.mark.parametrize("operator", ["RNN", "GRU", "LSTM"])
def test_a_graph_with_a_memory_is_refused_by_that_word(outside, operator):
    said = refused(outside / "m.onnx", recurrent(operator))
    assert f"stateful policies are not supported: the state of its {operator} would be lost" in said


def test_so_is_one_whose_memory_hides_in_a_branch(outside):
    inner = recurrent("GRU").graph
    inner.ClearField("input")
    branch = helper.make_graph(
        inner.node, "b", [], [info("y", TensorProto.FLOAT, None)], inner.initializer
    )
    nodes = [node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)]
    assert "stateful" in refused(outside / "m.onnx", model(nodes, {"yes": np.array(True)}))


def test_so_is_a_state_that_is_handed_round(outside):
    state = info("h", TensorProto.FLOAT, ["B", 3])
    after = info("h1", TensorProto.FLOAT, ["B", 3])
    nodes = [node("MatMul", ["x", "w"], ["z"]), node("Add", ["z", "h"], ["y"])]
    nodes.append(node("Identity", ["y"], ["h1"]))
    said = refused(outside / "m.onnx", model(nodes, inputs=[state], outputs=[after]))
    assert "2 inputs and 2 outputs; expected one of each" in said
    assert "stateful" in said


def test_weights_beside_the_file_are_found_whatever_the_current_folder(outside, monkeypatch):
    there = outside / "there"
    there.mkdir()
    (there / "w.data").write_bytes(WEIGHT.tobytes())
    (outside / "w.data").write_bytes((WEIGHT * 9).tobytes())
    policy = load(there / "m.onnx", external("w.data"))
    np.testing.assert_allclose(policy.act(np.ones((1, 4), np.float32)), 0.04, rtol=1e-5)


@pytest.mark.parametrize("inside", [False, True], ids=["constant", "in an attribute of a branch"])
@pytest.mark.parametrize(
    "location",
    ["w.data", "../w.data", "deep/../../w.data", "{outside}/w.data", "link", "folder/w.data", "",
     "*/_ORT_MEM_ADDR_/*", "a\0b", "there"],
)  # fmt: skip
def test_weights_elsewhere_are_refused_by_name(outside, location, inside):
    there = outside / "there"
    (there / "there").mkdir(parents=True)
    (outside / "w.data").write_bytes(WEIGHT.tobytes())
    (there / "link").symlink_to(outside / "w.data")
    (there / "folder").symlink_to(outside)
    made = external(location.format(outside=outside))
    if inside:
        nodes = [node("Constant", [], ["w"], value=made.graph.initializer[0])]
        nodes.append(node("MatMul", ["x", "w"], ["y"]))
        branch = helper.make_graph(nodes, "b", [], [info("y", TensorProto.FLOAT, None)])
        made = model(
            [node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)],
            {"yes": np.array(True)},
        )
    assert "weights in '" in refused(there / "m.onnx", made)


def test_a_link_within_the_folder_will_do(outside):
    (outside / "blob").write_bytes(WEIGHT.tobytes())
    (outside / "w.data").symlink_to("blob")
    load(outside / "m.onnx", external("w.data"))


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (
            {"joint_names": "left_knee,right_knee"},
            "joint_names: the body has no left_knee, right_knee",
        ),
        (
            {"joint_names": "tilt,pan"},
            "joint_names is tilt, pan; export the policy in the order of the body: pan",
        ),
        (
            {"joint_names": "pan"},
            "joint_names is pan; export the policy in the order of the body: pan, tilt",
        ),
        ({"joint_names": '["tilt", "pan"]'}, "joint_names is tilt, pan; export"),
        ({"joint_names": "[1]"}, "joint_names is not a list of names"),
        ({"Joint_Order": "tilt, pan"}, "Joint_Order is tilt, pan"),
        ({"action_names": "tilt,pan,switch"}, "the order of the body: pan_rad, tilt_rad, switch"),
        ({"action_names": "pan,tilt"}, "the order of the body: pan_rad, tilt_rad, switch"),
        ({"action_names": "pan,tilt,gripper"}, "action_names: the body has no gripper; it has"),
        ({"obs_names": "pan_rad_s,tilt_rad_s,pan_rad,tilt_rad"}, "the order of the body: pan_rad,"),
        (
            {"observation_labels": "depth"},
            "observation_labels: the body has no depth; it has pan_rad",
        ),
    ],
)
def test_names_that_are_not_the_bodys_in_its_order_are_refused(outside, metadata, said):
    assert said in refused(outside / "m.onnx", model(metadata=metadata))


def test_names_that_are_the_bodys_pass_with_and_without_units(outside):
    metadata = {
        "joint_names": " pan, tilt",
        "action_names": '["pan_rad", "tilt", "switch"]',
        "observation_names": "pan_rad,tilt_rad,pan_rad_s,tilt_rad_s",
        "comment": "left_knee",
    }
    load(outside / "m.onnx", model(metadata=metadata))


def bomb() -> onnx.ModelProto:
    """[n, 1] - [1, n] of three gigabytes, folded when a session is made."""
    n = 28_000
    nodes = [
        node("Sub", ["c", "r"], ["cr"]),
        node("ReduceMax", ["cr"], ["m"], keepdims=0),
        node("MatMul", ["x", "w"], ["z"]),
        node("Add", ["z", "m"], ["y"]),
    ]
    column = np.zeros((n, 1), np.float32)
    return model(nodes, {"w": WEIGHT, "c": column, "r": column.T})


def test_a_graph_that_needs_gigabytes_is_refused_and_they_are_not_taken(outside):
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "it needs more than 1024 MB" in refused(outside / "m.onnx", bomb())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 100_000


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero"])
def test_what_has_no_end_is_refused_before_it_is_read(outside, kind):
    path = outside / "m.onnx"
    os.mkfifo(path) if kind == "fifo" else path.symlink_to(kind)
    assert refused(path).endswith("m.onnx: not a file")


@pytest.mark.parametrize("beside", [False, True])
def test_more_weights_than_are_tried_are_refused_and_not_read(outside, beside, monkeypatch):
    monkeypatch.setattr(policy, "trial", None)
    path, made = outside / "m.onnx", external("w.data")
    path.write_bytes(made.SerializeToString())
    with (outside / ("w.data" if beside else "m.onnx")).open("wb") as file:
        file.truncate(3 * 10**9)
    assert refused(path).endswith(
        "not a usable policy: 3 GB with its weights; at most 2 GB are allowed"
    )


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("SIGXCPU", "loading it and its first answer need more than 10 s of processor time"),
        ("SIGKILL", "was killed; the machine may be out of memory"),
        ("SIGSEGV", "or crashes the runtime"),
    ],
)
def test_how_a_trial_ends_is_told_apart(tmp_path, monkeypatch, end, said):
    script = tmp_path / "ends.py"
    script.write_text(f"import os, signal\nos.kill(os.getpid(), signal.{end})\n")
    monkeypatch.setattr(trial, "__file__", str(script))
    with pytest.raises(trial.TrialError, match=said):
        trial.trial("m.onnx", np.zeros((1, 4), np.float32), 10)


@pytest.mark.parametrize(
    ("load_s", "answer_s", "asked"),
    [(0.5, 0.0, 10), (9.0, 0.2, 1), (0.5, 6.0, 1), (6.9, 1.9, 1), (1.0, 0.7, 3)],
)
def test_further_tries_take_what_is_left_of_the_bound(monkeypatch, load_s, answer_s, asked):
    """What loads within its bound is not ended by being asked once more."""
    spent, answers = [load_s], []

    class Session:
        def run(self, _, given):
            spent[0] += answer_s
            answers.append(given)
            return [np.zeros((1, 3), np.float32)]

    monkeypatch.setattr(trial.time, "process_time", lambda: spent[0])
    assert trial._answers(Session(), "x", np.zeros((9, 4), np.float32))["wrong"] == ""
    assert len(answers) == asked
    assert spent[0] < trial.CPU_S


def test_a_single_answer_that_is_no_number_is_found(monkeypatch):
    class Session:
        def run(self, *_):
            return [np.full((1, 3), np.nan, np.float32)]

    monkeypatch.setattr(trial.time, "process_time", lambda: 9.5)
    found = trial._answers(Session(), "x", np.zeros((9, 4), np.float32))
    assert "which is not a number" in found["wrong"]


@pytest.mark.slow
def test_a_graph_that_computes_for_ever_is_refused(outside):
    n = 6000
    nodes = [
        node("Sub", ["c", "r"], ["p0"]),
        *[node("MatMul", [f"p{i}", f"p{i}"], [f"p{i + 1}"]) for i in range(40)],
        node("ReduceMax", ["p40"], ["m"], keepdims=0),
        node("MatMul", ["x", "w"], ["z"]),
        node("Add", ["z", "m"], ["y"]),
    ]
    column = np.zeros((n, 1), np.float32)
    said = refused(outside / "m.onnx", model(nodes, {"w": WEIGHT, "c": column, "r": column.T}))
    assert "loading it and its first answer need more than 10 s of processor time" in said


def test_no_number_where_bodies_start_is_found_before_anything_is_measured(outside):
    nodes = [
        node("ReduceSum", ["x", "axis"], ["s"]),
        node("Div", ["s", "s"], ["d"]),
        node("MatMul", ["x", "w"], ["z"]),
        node("Mul", ["z", "d"], ["y"]),
    ]
    made = model(nodes, {"w": WEIGHT, "axis": np.array([1])})
    assert "answers [0. 0. 0. 0.] which is not a number" in refused(outside / "m.onnx", made)


def test_one_that_answers_differently_each_time_is_refused(outside):
    nodes = [
        node("MatMul", ["x", "w"], ["z"]),
        node("RandomNormalLike", ["z"], ["noise"]),
        node("Add", ["z", "noise"], ["y"]),
    ]
    said = refused(outside / "m.onnx", model(nodes))
    assert "answers the same observation differently each time" in said


@pytest.mark.parametrize("data", [b"", b"\x3b", b"\xff" * 99, b"ORTM" * 20, bytes(range(256)) * 4])
def test_what_is_no_onnx_is_refused(outside, data):
    (outside / "m.onnx").write_bytes(data)
    assert "not a usable policy" in refused(outside / "m.onnx")


def test_the_command_says_so_too(outside):
    (outside / "m.onnx").write_bytes(recurrent("GRU").SerializeToString())
    with pytest.raises(UserError, match="stateful"):
        measure.benchmark(Path("m.onnx"), "my_package:MyBody", None)
