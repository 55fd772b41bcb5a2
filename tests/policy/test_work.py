"""The work of a policy is that of its graph."""

import numpy as np
import pytest
from plant import POLICY

from tierloop.cloud.export import export
from tierloop.policy import graph
from tierloop.policy.engine import load
from tierloop.policy.mlp import Mlp
from tierloop.policy.work import work


@pytest.mark.parametrize("hidden", [(8,), (64, 32), (16, 16, 16, 16)])
@pytest.mark.parametrize("engine", ["onnx", "numpy"])
def test_work_is_what_the_products_of_the_graph_come_to(hidden, engine):
    """Operations and bytes of every Gemm, by the shapes in the file that a runtime reads."""
    artefact = export(
        Mlp.random(POLICY, hidden, 0), version=1, parents=(), software="t", seed=0,
        trained_on=(), samples={}, metrics={},
    )  # fmt: skip
    found = graph.check(artefact.onnx)
    shapes = {name: tensor.shape for name, tensor in found.tensors}
    products = [node for node in found.nodes if node.operator == "Gemm"]
    ops = sum(2 * int(np.prod(shapes[node.inputs[1]])) for node in products)
    held = {name for node in products for name in node.inputs[1:] if name in shapes}
    assert load(artefact, engine).work == work(POLICY, hidden)
    assert work(POLICY, hidden) == (ops, 4 * sum(int(np.prod(shapes[name])) for name in held))
