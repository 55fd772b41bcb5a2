"""Small specs and segments for the cloud's tests."""

import zlib

import numpy as np
import pytest

from tierloop.cloud.store import Store
from tierloop.contract.codec import Codec, digest64
from tierloop.contract.messages import Sealed, Segment
from tierloop.contract.specs import ArraySpec, PolicySpec


@pytest.fixture(scope="session")
def spec() -> PolicySpec:
    def array(name, labels, reach):
        n = len(labels)
        return ArraySpec(name=name, labels=labels, low=(-reach,) * n, high=(reach,) * n)

    return PolicySpec(
        task="point",
        body="dot",
        observation=array("observation", ("joint_1_rad", "goal_m", "speed_m_s"), 4.0),
        action=array("action", ("joint_1_rad", "suction"), 1.0),
        horizon=4,
        period_ns=50_000_000,
    )


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store.sqlite")
    yield store
    store.close()


@pytest.fixture(scope="session")
def make_segment(spec):
    def make(seq=0, device="arm-0", boot=7, rows=3, **changes):
        rng = np.random.default_rng([seq, boot])
        fields = {
            "device": device,
            "boot": boot,
            "seq": seq,
            "body": "dot",
            "software": "1",
            "spec": spec.digest,
            "captured_ns": np.arange(rows, dtype=np.int64),
            "features": rng.standard_normal((rows, spec.observation.size)).astype(np.float32),
            "applied": np.zeros((rows, spec.action.size), np.float32),
            "age_ns": np.zeros(rows, np.int64),
            "versions": np.full(rows, 2, np.int64),
            "seam_rad": 0.0,
            "refused": {},
            "outcomes": (),
        }
        return Segment(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def seal():
    codec = Codec()

    def make(segment, deflated=False, **changes):
        body = codec.encode(segment)
        carried = zlib.compress(body) if deflated else body
        fields = {
            "device": segment.device,
            "boot": segment.boot,
            "seq": segment.seq,
            "digest": digest64(body),
            "body": np.frombuffer(carried, np.uint8),
            "deflated": deflated,
        }
        return Sealed(**(fields | changes))

    return make
