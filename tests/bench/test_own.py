"""Bring your own: what docs/benchmarks.md promises, from a repository outside of this one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from contract.codec import Codec
from contract.errors import UserError
from contract.messages import Observation
from edge.config import EdgeConfig
from tierloop.bench import own
from tierloop.bench.strangers import OnnxFile, embody

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "benchmarks.md").read_text()

BODY = '''
import numpy as np

from contract.body import Reading
from contract.specs import BodySpec


class MyBody:
    """One joint that is where it was told to be."""

    spec = BodySpec(
        name="mine", joints=("hinge",), control_period_ns=4_000_000, physics_period_ns=4_000_000,
        position_low_rad=(-2.0,), position_high_rad=(2.0,), velocity_rad_s=(3.0,),
        acceleration_rad_s2=(20.0,), torque_nm=(10.0,), workspace_low_m=(-1.0, -1.0, -1.0),
        workspace_high_m=(1.0, 1.0, 1.0), copper_w_per_nm2=(0.1,), viscous_w_s2=(0.1,),
        coulomb_w_s=(0.1,), switch_w=0.0, sensors_w=1.0,
    )

    def __init__(self):
        self._at = np.zeros(1)

    def tool_position(self, position_rad):
        return np.zeros(3)

    def read(self, now_ns):
        return Reading(
            captured_ns=now_ns, position_rad=self._at.copy(), velocity_rad_s=np.zeros(1),
            torque_nm=np.zeros(1), tool_m=np.zeros(3), switch=0.0, holding=False, scans=(),
            outcomes=(),
        )

    def write(self, setpoint):
        self._at = setpoint[:1].copy()

    def hold(self):
        return np.append(self._at, 0.0)

    def close(self):
        pass
'''


GENEROUS = '[[budget]]\nmetric = "decision"\nlimit = 1e6\nunit = "us"\n'


def policy(path, inputs=2, outputs=(4, 2), kind=TensorProto.FLOAT):
    """A linear layer: float32[*, inputs] to float32[*, *outputs]."""
    size = int(np.prod(outputs))
    weight = numpy_helper.from_array(np.full((inputs, size), 0.01, np.float32), "w")
    shape = numpy_helper.from_array(np.array([-1, *outputs], np.int64), "s")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["flat"]),
        helper.make_node("Reshape", ["flat", "s"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "mine", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", *outputs])],
        [weight, shape],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A repository that knows nothing of this one but that tierloop is installed."""
    (tmp_path / "my_package.py").write_text(BODY)
    policy(tmp_path / "my.onnx")
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\n[edge]\nhardware = "orin-nano"\n' + GENEROUS
    )
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_package", None)


def tierloop(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tierloop", *arguments], capture_output=True, text=True, timeout=100,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip


@pytest.mark.slow
def test_the_command_of_the_docs_measures_a_strangers_policy_and_body(outside):
    (command,) = re.findall(r"^tierloop (bench --policy .*)$", DOCS, re.M)
    done = tierloop(*command.split(), "--for", "1.5", "--out", "out")
    assert done.returncode == 0, done.stderr
    for metric in ("inference", "decision", "tick", "decision_energy"):
        assert re.search(rf"own +{metric} ", done.stdout)
    assert re.search(r"own +decision .* 1e\+06 us +pass", done.stdout)
    assert (outside / "out" / "bench.json").exists()


def test_a_budget_below_the_truth_is_exit_3_and_one_line(outside):
    (outside / "b.toml").write_text(
        '[[budget]]\nmetric = "decision"\nlimit = 0.5\nunit = "us"\n'
        '[[budget]]\nmetric = "inference"\nlimit = 1e6\nunit = "us"\n'
    )
    done = tierloop(
        "bench", "--policy", "my.onnx", "--body", "my_package:MyBody", "--for", "0.3",
        "--budgets", "b.toml", "--out", "out",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(
        r"tierloop: budget broken: decision p50 is [\d.]+ us \(99% interval [\d.]+ to [\d.]+, "
        r"n \d+\), the limit is 0\.5 us",
        line,
    )


def test_a_run_cut_short_is_inconclusive_exit_4(outside):
    (outside / "b.toml").write_text(
        '[[budget]]\nmetric = "tick"\npercentile = 99.9\nlimit = 1e9\nunit = "us"\n'
    )
    done = tierloop(
        "bench", "--policy", "my.onnx", "--body", "my_package:MyBody", "--for", "0.01",
        "--budgets", "b.toml", "--out", "out",
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "inconclusive: tick p99.9" in done.stderr
    assert "too few blocks" in done.stderr


@pytest.mark.slow
def test_the_plugin_as_the_docs_show_it(outside):
    (example,) = re.findall(r"```python\n(def test_.*?)```", DOCS, re.S)
    assert len(example.strip().splitlines()) <= 4
    (outside / "test_mine.py").write_text(example)
    (outside / "test_broken.py").write_text(
        "def test_broken(budget):\n"
        '    mine = budget("my.onnx", body="my_package:MyBody", seconds=1.5)\n'
        '    mine.within("decision", limit=0.5, unit="us")\n'
        "def test_short(budget):\n"
        '    mine = budget("my.onnx", body="my_package:MyBody", seconds=0.01)\n'
        '    mine.within("tick", percentile=99.9, limit=1e9, unit="us")\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider"],
        capture_output=True, text=True, timeout=100, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert "1 failed, 1 passed, 1 skipped" in done.stdout, done.stdout
    assert "budget broken: decision p50 is" in done.stdout
    assert "inconclusive: tick p99.9" in done.stdout


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inputs": 3}, "observation is float32[*, 3], the body's is float32[*, 2]"),
        (
            {"outputs": (4, 5)},
            "action is float32[*, 4, 5], the body's is float32[*, 4, 2]",
        ),
        ({"outputs": (7,)}, "action is float32[*, 7], the body's is float32[*, 1, 2]"),
    ],
)
def test_a_misfit_names_the_field_and_both_shapes(outside, changes, said):
    policy(outside / "my.onnx", **changes)
    with pytest.raises(UserError) as error:
        own.benchmark(Path("my.onnx"), "my_package:MyBody", None)
    assert str(error.value) == f"my.onnx: {said}"


def test_one_action_without_a_horizon_fits_too(outside):
    policy(outside / "my.onnx", outputs=(2,))
    own.benchmark(Path("my.onnx"), "my_package:MyBody", None)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("my_package", "expected MODULE:NAME"),
        ("nowhere:MyBody", "No module named 'nowhere'"),
        ("my_package:Body", "has no attribute 'Body'"),
        ("my_package:BodySpec", "TypeError: Missing required argument"),
        ("pathlib:Path", "a body has 'spec'"),
    ],
)
def test_a_body_that_is_none_is_one_line(outside, body, said):
    with pytest.raises(UserError) as error:
        own.benchmark(Path("my.onnx"), body, None)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"), [("no.onnx", "No such file"), ("mine.toml", "no policy")]
)
def test_so_is_a_policy_that_is_none(outside, name, said):
    with pytest.raises(UserError, match=said):
        own.benchmark(Path(name), "my_package:MyBody", None)


def test_a_policy_that_answers_no_numbers_is_not_measured(outside):
    class Mute:
        version = 0

        def __init__(self, spec):
            self.spec = spec

        def act(self, features):
            return np.full((1, 4, 2), np.nan, np.float32)

    chosen = OnnxFile(Path("my.onnx"), None, embody("my_package:MyBody")[1])
    edge = own.Edge(Mute(chosen.spec), EdgeConfig())
    data = Codec().encode(
        Observation(device="own", boot=1, seq=1, captured_ns=1, features=np.zeros(2, np.float32))
    )
    with pytest.raises(RuntimeError, match="refused what the policy answered"):
        edge.answer(data)
