"""Messages as they are in a run of the sorting cell."""

import numpy as np

from tierloop.benchmarks.rig.hot import chunk, experience, observation, policy
from tierloop.contract import messages as m
from tierloop.contract.codec import Codec, digest64
from tierloop.contract.ledger import LEDGER
from tierloop.contract.poses import PLACED_COLUMNS, Poses, SceneObject


def messages() -> dict[str, m.Message]:
    """One of every message that crosses a tier, of the size it has in a run."""
    spec = policy()
    segment = experience(spec)
    body = Codec().encode(segment)
    sealed = m.Sealed(
        device="arm-0", boot=1, seq=7, digest=digest64(body), body=np.frombuffer(body, np.uint8)
    )
    digest = "0" * 64
    found: tuple[m.Message, ...] = (
        m.Hello(node="arm-0", role="device", boot=1, software="benchmark", spec=spec.digest),
        m.Welcome(node="edge", boot=1, acked=0),
        m.Refused(reason="not for this body", final=True),
        m.Beat(seq=9, sent_ns=10**15),
        m.Echo(seq=9, sent_ns=10**15, received_ns=10**15, echoed_ns=10**15),
        observation(spec, 1),
        chunk(spec, observation(spec, 1)),
        segment,
        sealed,
        m.Stored(device="arm-0", boot=1, below=7, also=(9, 10)),
        m.Offer(version=3, digest=digest, size=600_000, parents=(2,)),
        m.Fetch(digest=digest, offset=0, length=65536),
        m.Part(digest=digest, offset=0, data=np.zeros(65536, np.uint8)),
        m.PolicyStatus(node="edge", version=3, digest=digest, state="active"),
        m.Report(
            process="arm-0", role="device", boot=1, at_ns=10**15,
            counters={f"counter.{i}": float(i) for i in range(40)}, gauges={"backlog": 0.0},
            labels={"rung": "edge"}, decisions=np.zeros((20, len(LEDGER)), np.int64),
            lateness_ns=np.zeros(240, np.int64), outcomes=(), events=(),
        ),
        Poses(
            process="arm-0", boot=1, at_ns=10**15, frame_ns=np.full(30, 10**15),
            joints_rad=np.zeros((30, 7), np.float32), tool=np.zeros((30, 2), np.float32),
            objects=tuple(
                SceneObject(name=f"part {n}", kind="box", shape="box", size_m=(0.02, 0.02, 0.03))
                for n in range(2)
            ),
            placed=np.zeros((60, PLACED_COLUMNS), np.float32),
        ),
    )  # fmt: skip
    return {type(message).__name__: message for message in found}
