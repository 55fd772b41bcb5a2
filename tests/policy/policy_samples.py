"""Small specs, networks and artefacts for the tests of this folder."""

import numpy as np

from tierloop.contract.specs import ArraySpec, FloatArray, PolicySpec
from tierloop.policy.artefact import Artefact, DataRange, Manifest, digest, pack
from tierloop.policy.mlp import Mlp


def make_spec(
    features: int = 6, joints: int = 2, horizon: int = 3, body: str = "twin"
) -> PolicySpec:
    names = tuple(f"joint_{i}_rad" for i in range(joints))
    others = tuple(f"feature_{i}" for i in range(features - joints))
    return PolicySpec(
        task="sort",
        body=body,
        observation=ArraySpec(
            name="observation",
            labels=names + others,
            low=(-3.0,) * joints + (-1.0,) * len(others),
            high=(3.0,) * joints + (1.0,) * len(others),
        ),
        action=ArraySpec(
            name="action",
            labels=(*names, "suction"),
            low=(-2.0,) * joints + (0.0,),
            high=(2.0,) * joints + (1.0,),
        ),
        horizon=horizon,
        period_ns=50_000_000,
    )


SPEC = make_spec()


def make_manifest(mlp: Mlp, onnx: bytes, version: int) -> Manifest:
    return Manifest(
        version=version,
        spec=mlp.spec,
        parents=(version - 1,) if version else (),
        software="test",
        seed=version,
        trained_on=(DataRange(device="arm-0", boot=1, first=0, last=9),),
        samples={"lived": 90},
        metrics={"success": 0.5},
        onnx_sha256=digest(onnx),
        mlp_sha256=digest(mlp.encode()),
    )


def make_artefact(version: int = 1, spec: PolicySpec = SPEC, hidden: int = 8) -> Artefact:
    """An artefact for the numpy backend: its graph is a placeholder that no runtime would take."""
    return wrap(Mlp.random(spec, (hidden,), seed=version), version)


def wrap(mlp: Mlp, version: int) -> Artefact:
    onnx = b"placeholder"
    return Artefact(make_manifest(mlp, onnx, version), onnx, mlp.encode())


def make_blob(version: int = 1, spec: PolicySpec = SPEC) -> bytes:
    return pack(make_artefact(version, spec))


def make_features(spec: PolicySpec, rows: int, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    return np.stack([spec.observation.sample(rng) for _ in range(rows)])
