"""Policies that can be told apart by their answers, and a learner that brings one a round.

Each row of an answer carries a switch value of its own: that it acts says which policy answered
and which row is due. Only the network is made up; trainer, gate, export, store, publisher and edge
are the real ones.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tierloop.cloud.backend import Fit, Fitted
from tierloop.cloud.export import export
from tierloop.cloud.rollout import TWIN, Play
from tierloop.contract.messages import Outcome, Segment
from tierloop.contract.specs import FloatArray, PolicySpec
from tierloop.policy.artefact import pack
from tierloop.policy.mlp import Mlp
from tierloop.sim.tasks.reach import shares

SOFTWARE = "fuzz"
_HIDDEN = 8


def signature(spec: PolicySpec, number: int) -> FloatArray:
    """The switch values of a policy's rows, float32[horizon]."""
    rng = np.random.default_rng([number, spec.horizon])
    return rng.uniform(0.05, 0.95, spec.horizon).astype(np.float32)


def signed(spec: PolicySpec, number: int) -> Mlp:
    """Policy `number`: the expert of reach, for another task small motions at random."""
    base = _expert(spec) if spec.task == "reach" else Mlp.random(spec, (_HIDDEN,), number)
    actions = spec.action.size
    weight, bias = base.weights[-1].copy(), base.biases[-1].copy()
    weight[:, actions - 1 :: actions] = 0
    bias[actions - 1 :: actions] = signature(spec, number) / base.scale[actions - 1 :: actions]
    return Mlp(
        spec, base.mean, base.std, (*base.weights[:-1], weight), (*base.biases[:-1], bias),
        base.scale,
    )  # fmt: skip


def _expert(spec: PolicySpec) -> Mlp:
    """A network that gives the answers of the task's expert."""
    gap = np.array([[-1, 0], [0, -1], [1, 0], [0, 1]], np.float32)
    steps = np.zeros((2, spec.horizon, spec.action.size), np.float32)
    steps[0, :, 0] = steps[1, :, 1] = shares(spec.horizon)
    out = steps.reshape(2, -1)
    return Mlp(
        spec=spec,
        mean=np.zeros(4, np.float32),
        std=np.ones(4, np.float32),
        weights=(np.hstack([gap, -gap]), np.vstack([out, -out])),
        biases=(np.zeros(4, np.float32), np.zeros(out.shape[1], np.float32)),
        scale=np.ones(out.shape[1], np.float32),
    )


def write(path: Path, spec: PolicySpec, version: int) -> None:
    """An artefact to begin with."""
    artefact = export(
        signed(spec, version), version=version, parents=(), software=SOFTWARE, seed=0,
        trained_on=(), samples={}, metrics={},
    )  # fmt: skip
    path.write_bytes(pack(artefact))


class SignedRounds:
    """A Backend whose every fit is a new signed policy, a little better at the gate than the last.

    Same jobs, same results, whichever life of the cloud asks.
    """

    def __init__(self, spec: PolicySpec, first: int) -> None:
        self._spec, self._first = spec, first

    def start(self) -> None:
        pass

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        pass

    def play(self, jobs: Sequence[Play]) -> list[list[Segment]]:
        return [[self._segment(job, i, seed) for i, seed in enumerate(job.seeds)] for job in jobs]

    def fit(self, job: Fit) -> Fitted:
        return Fitted(signed(self._spec, job.seed), 0.0)

    def _segment(self, job: Play, number: int, seed: int) -> Segment:
        """One decision long."""
        spec = self._spec
        success = (seed >> 3) % 12 < 3 + 2 * (job.version - self._first)
        observation = spec.observation.sample(np.random.default_rng(seed))[np.newaxis]
        outcome = Outcome(
            number=job.first_seq + number, success=success, reason="drawn",
            policy_version=job.version, started_ns=0, ended_ns=spec.period_ns,
        )  # fmt: skip
        return Segment(
            device=TWIN, boot=job.boot, seq=job.first_seq + number, body=spec.body,
            software=SOFTWARE, spec=spec.digest, captured_ns=np.zeros(1, np.int64),
            features=observation, applied=job.policy.forward(observation)[:, 0],
            age_ns=np.zeros(1, np.int64), versions=np.full(1, job.version, np.int64),
            seam_rad=0.0, refused={}, outcomes=(outcome,),
        )  # fmt: skip


def foreign(rows: FloatArray, mlp: Mlp) -> bool:
    """Whether an answer float32[H, A] is not one of this network's."""
    given = mlp.biases[-1].reshape(rows.shape)[:, -1] * mlp.scale.reshape(rows.shape)[:, -1]
    return bool(np.abs(rows[:, -1] - given).max() > 1e-5)
