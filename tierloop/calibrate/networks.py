"""The networks whose answers are timed: the policy's own, and others to fit a roofline on."""

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec

import numpy as np

from tierloop.calibrate.timing import TimedJob
from tierloop.contract.specs import FloatArray, PolicySpec
from tierloop.contract.version import __version__
from tierloop.policy.artefact import Artefact, Manifest, digest
from tierloop.policy.engine import EngineName, load
from tierloop.policy.mlp import Mlp
from tierloop.sim.scenario import Scenario, policy_spec

BATCHES = (1, 2, 4, 8, 16, 32, 64)
NETWORKS = ((16,), (64, 64), (64,) * 6, (256, 256), (512, 512), (1024, 1024))
"""Hidden widths that the roofline is fitted on, beside the policy's own."""
HELD_OUT = (384, 384)
"""Hidden widths that it is judged by."""


def engines() -> tuple[EngineName, ...]:
    """The engines of this machine, the one a tier would take first."""
    return ("onnx", "numpy") if find_spec("onnxruntime") else ("numpy",)


def name_of(hidden: tuple[int, ...]) -> str:
    """A network by the widths of its hidden layers."""
    return "-".join(map(str, hidden))


def untrained(spec: PolicySpec | None = None, hidden: tuple[int, ...] = (256, 256)) -> Artefact:
    """A policy before it has learnt, by default the sorting cell's.

    It is without ONNX where that is not installed.
    """
    mlp = Mlp.random(spec or policy_spec(Scenario()), hidden, 0)
    if find_spec("onnx") and find_spec("onnxruntime"):
        from tierloop.cloud.export import export

        return export(
            mlp, version=0, parents=(), software=__version__, seed=0, trained_on=(), samples={},
            metrics={},
        )  # fmt: skip
    numbers = mlp.encode()
    manifest = Manifest(
        version=0, spec=mlp.spec, parents=(), software=__version__, seed=0, trained_on=(),
        samples={}, metrics={}, onnx_sha256=digest(b""), mlp_sha256=digest(numbers),
    )  # fmt: skip
    return Artefact(manifest, b"", numbers)


def networks(artefact: Artefact, engine: EngineName) -> Iterator[TimedJob]:
    """Other networks for the same robot; none where their graphs cannot be written."""
    own = _hidden(artefact)
    for hidden in (*NETWORKS, HELD_OUT):
        other = untrained(artefact.manifest.spec, hidden)
        if hidden != own and (other.onnx or engine == "numpy"):
            yield from answers(other, engine, 40)


def answers(artefact: Artefact, engine: EngineName, calls: int) -> Iterator[TimedJob]:
    """A policy's answers to batches of each size."""
    spec, hidden = artefact.manifest.spec, _hidden(artefact)
    policy, features = load(artefact, engine), samples(spec, BATCHES[-1])
    for rows in BATCHES:
        run = partial(policy.act, features[:rows])
        yield TimedJob("infer", rows, engine, run, calls, name_of(hidden), policy.work)


def _hidden(artefact: Artefact) -> tuple[int, ...]:
    return Mlp.decode(artefact.mlp, artefact.manifest.spec).hidden


def samples(spec: PolicySpec, rows: int) -> FloatArray:
    """Observations within the spec, float32[rows, D]."""
    rng = np.random.default_rng(0)
    return np.stack([spec.observation.sample(rng) for _ in range(rows)])
