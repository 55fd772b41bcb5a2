"""A stranger's repository, made of the very blocks that docs/benchmarks.md shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DOCS = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()


def block(language, start):
    """The one block of the docs in this language that begins so, or has a line that does."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", DOCS, re.S | re.M)
    (found,) = (text for text in blocks if re.search(f"^{start}", text, re.M))
    return found


BODY, DEPLOYMENT = block("python", "class MyBody"), block("toml", 'name = "mine"')


def policy(
    path, inputs=4, outputs=(8, 3), kind=TensorProto.FLOAT, answer=None, batch="batch", told=True
):
    """A linear layer: [*, inputs] to [*, *outputs]; `told`: whether the graph says so.

    One that does not takes the shape of its answer from its data, as far as the runtime can see.
    """
    size, answer = int(np.prod(outputs)), answer or kind
    numbers = np.full((inputs, size), 0.01, helper.tensor_dtype_to_np_dtype(kind))
    weight = numpy_helper.from_array(numbers, "w")
    shape = numpy_helper.from_array(np.array([-1, *outputs], np.int64), "s")
    nothing = numpy_helper.from_array(np.array(0, np.int64), "nothing")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["flat"]),
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Mul", ["whole", "nothing"], ["zero"]),
        helper.make_node("Add", ["s", "zero"], ["hidden"]),
        helper.make_node("Reshape", ["flat", "s" if told else "hidden"], ["shaped"]),
        helper.make_node("Cast", ["shaped"], ["y"], to=answer),
    ]
    graph = helper.make_graph(
        nodes, "mine", [helper.make_tensor_value_info("x", kind, [batch, inputs])],
        [helper.make_tensor_value_info("y", answer, [batch, *outputs] if told else None)],
        [weight, shape, nothing],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


ABSENT = """
import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"onnx", "torch", "ray", "pybullet", "gymnasium"}:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


sys.meta_path.insert(0, Absent())
"""
"""A sitecustomize.py of a Python in which the extras `bench` and `edge` alone are installed."""


def python(*arguments):
    """A process in this folder, of a Python that has no more than what the docs say to install."""
    Path("site").mkdir(exist_ok=True)
    Path("site/sitecustomize.py").write_text(ABSENT)
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=100,
        env={**os.environ, "PYTHONPATH": "site"},
    )  # fmt: skip


def tierloop(*arguments):
    """The command."""
    return python("-m", "tierloop", *arguments)
