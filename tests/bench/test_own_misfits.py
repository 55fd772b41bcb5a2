"""Bring your own: what does not fit is one line that names the field and both shapes."""

import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from stranger import BODY, policy

from tierloop.bench.own import measure
from tierloop.bench.own.body import embody
from tierloop.bench.own.policy import OnnxFile
from tierloop.contract.errors import UserError


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inputs": 3}, "observation is float32[*, 3]; the body needs float32[*, 4]"),
        ({"batch": 3}, "observation is float32[3, 4]; the body needs float32[*, 4]"),
        (
            {"kind": TensorProto.DOUBLE},
            "observation is float64[*, 4]; the body needs float32[*, 4]",
        ),
        (
            {"answer": TensorProto.DOUBLE},
            "action is float64[*, 8, 3]; the body needs float32[*, H, 3]",
        ),
        ({"outputs": (4, 5)}, "action is float32[*, 4, 5]; the body needs float32[*, H, 3]"),
        ({"outputs": (7,)}, "action is float32[*, 7]; the body needs float32[*, 3]"),
        (
            {"outputs": (8, 5), "told": False},
            "action is float32[*, 8, 5]; the body needs float32[*, H, 3]",
        ),
        ({"outputs": (2, 8, 3)}, "action is float32[*, 2, 8, 3]; the body needs float32[*, H, 3]"),
    ],
)
def test_a_misfit_names_the_field_and_both_shapes(outside, changes, said):
    policy(outside / "my.onnx", **changes)
    with pytest.raises(UserError) as error:
        measure.benchmark(Path("my.onnx"), "my_package:MyBody", None)
    assert str(error.value) == f"my.onnx: {said}"


def test_one_action_without_a_horizon_fits_too(outside):
    policy(outside / "my.onnx", outputs=(3,))
    measure.benchmark(Path("my.onnx"), "my_package:MyBody", None)


def test_the_horizon_is_what_the_graph_answers_though_it_does_not_say(outside):
    policy(outside / "my.onnx", told=False)
    chosen = OnnxFile(Path("my.onnx"), None, embody("my_package:MyBody")[1])
    assert chosen.spec.horizon == 8
    assert chosen.act(np.zeros((3, 4), np.float32)).shape == (3, 8, 3)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("write = 3", "'write' is missing; see Body in contract/body.py"),
        ("spec = {}", "spec must be a BodySpec, not a dict"),
        ("def read(self, now_ns): return {}", "read() must return a Reading, not a dict"),
        ("def read(self, now_ns): raise OSError('no port')", "read: OSError: no port"),
        (
            "def hold(self): return self.at",
            "hold() is float64[2]; the body's spec needs float64[3]",
        ),
        (
            "def read(self, now_ns): return super().read(now_ns)._replace(torque_nm=np.zeros(5))",
            "read().torque_nm is float64[5]; the body's spec needs float64[2]",
        ),
        (
            "def read(self, now_ns): return super().read(now_ns)._replace(position_rad=[0, 0])",
            "read().position_rad is list; the body's spec needs float64[2]",
        ),
        (
            "def read(self, now_ns): return super().read(now_ns)._replace(effort=None)",
            "read().effort must be an Effort, not a NoneType",
        ),
        (
            "def read(self, now_ns): return super().read(now_ns)._replace(effort=Effort.none(5))",
            "read().effort.work_j is 5 numbers, not one a joint",
        ),
        (
            "def hold(self): return np.zeros(3, np.float32)",
            "hold() is float32[3]; the body's spec needs float64[3]",
        ),
        (
            "def hold(self): return np.full(3, np.nan)",
            "hold() is not finite: [nan nan nan]",
        ),
        (
            "def tool_position(self, q): return q.astype(np.float32)",
            "tool_position() is float32[2]; the body's spec needs float64[3]",
        ),
    ],
)
def test_so_does_a_body_at_odds_with_its_own_spec(outside, lines, said):
    body = f"{BODY}\n\nclass Odd(MyBody):\n    {lines}\n"
    if lines.startswith("def tool_position"):
        body = body.replace("tool_m=self.tool_position(self.at)", "tool_m=np.zeros(3)")
    (outside / "my_package.py").write_text(body)
    with pytest.raises(UserError) as error:
        measure.benchmark(Path("my.onnx"), "my_package:Odd", None)
    assert str(error.value) == f"--body my_package:Odd: {said}"


def test_a_perceive_stage_that_does_not_fit_its_policy_spec_is_one_line(outside):
    more = """
from tierloop.contract.body import Embodiment
from tierloop.bench.own.policy import _plain_spec


class Narrow:
    def update(self, reading): pass
    def features(self, reading): return np.zeros(3, np.float32)


def whole():
    return Embodiment(MyBody(), Narrow(), _plain_spec(MyBody(), 8))
"""
    (outside / "my_package.py").write_text(BODY + more)
    with pytest.raises(UserError, match=r"perceiver: .*expected float32\[4\], got float32\[3\]"):
        measure.benchmark(Path("my.onnx"), "my_package:whole", None)


def test_the_body_is_let_go_also_when_the_measuring_fails(outside):
    more = "\nclosed = []\n\n\nclass Odd(MyBody):\n    def write(self): pass\n"
    more += "    def close(self): closed.append(1)\n"
    (outside / "my_package.py").write_text(BODY + more)
    chosen = measure.benchmark(Path("my.onnx"), "my_package:Odd", None)
    with pytest.raises(TypeError, match="write"):
        chosen.run(0.01)
    assert sys.modules["my_package"].closed == [1]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("my_package", "expected MODULE:NAME"),
        ("nowhere:MyBody", "No module named 'nowhere'"),
        ("my_package:Body", "has no attribute 'Body'"),
        ("my_package:BodySpec", "TypeError: Missing required argument"),
        ("pathlib:Path", "'spec' is missing"),
    ],
)
def test_a_body_that_is_none_is_one_line(outside, body, said):
    with pytest.raises(UserError) as error:
        measure.benchmark(Path("my.onnx"), body, None)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"), [("no.onnx", "No such file"), ("mine.toml", "not a usable policy")]
)
def test_so_is_a_policy_that_is_none(outside, name, said):
    with pytest.raises(UserError, match=said):
        measure.benchmark(Path(name), "my_package:MyBody", None)
