"""Rollouts: a policy lives through seeded episodes in the twin, at first with a teacher's help."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cloud.teacher import Teacher
from contract.messages import Outcome, Segment
from contract.specs import FloatArray
from policy.mlp import Mlp
from sim.scenario import Scenario, policy_spec

PARTS = 2
"""Parts in a row that make one episode in the twin. A body's day has no fresh starts: with one
part an episode, a policy that stalled after its first drop passed for perfect."""

TWIN = "twin"
"""The name under which the store keeps what was lived here."""


class Play(NamedTuple):
    """Episodes to live through, one a seed. `teacher_share`: chance that the teacher acts in one.

    The segments made are numbered `boot`, `first_seq` on.
    """

    policy: Mlp
    version: int
    seeds: tuple[int, ...]
    teacher_share: float = 0.0
    boot: int = 0
    first_seq: int = 0


class TwinRollout:
    """One twin world. Not thread-safe. An episode depends on nothing but its policy and seed."""

    def __init__(self, scenario: Scenario, software: str) -> None:
        from sim.env import SortEnv

        self._software = software
        self._spec = policy_spec(scenario)
        self._digest = self._spec.digest
        self._teacher = Teacher(self._spec)
        self._env = SortEnv(scenario, PARTS)

    def play(self, job: Play) -> list[Segment]:
        """One segment an episode, with its outcome; the first row of each chunk acts."""
        return [self._episode(job, i, seed) for i, seed in enumerate(job.seeds)]

    def _episode(self, job: Play, number: int, seed: int) -> Segment:
        taught = np.random.default_rng(seed).random() < job.teacher_share
        features, applied, done = [], [], False
        observation, _ = self._env.reset(seed=seed)
        while not done:
            rows = observation[np.newaxis]
            chunk = self._teacher.label(rows) if taught else job.policy.forward(rows)
            features.append(observation)
            applied.append(chunk[0, 0])
            observation, _, terminated, truncated, info = self._env.step(chunk[0, 0])
            done = terminated or truncated
        return self._segment(job, number, features, applied, taught, info)

    def _segment(
        self,
        job: Play,
        number: int,
        features: Sequence[FloatArray],
        applied: Sequence[FloatArray],
        taught: bool,
        info: dict[str, object],
    ) -> Segment:
        rows, period_ns = len(features), self._spec.period_ns
        version = -1 if taught else job.version
        return Segment(
            device=TWIN,
            boot=job.boot,
            seq=job.first_seq + number,
            body=self._spec.body,
            software=self._software,
            spec=self._digest,
            captured_ns=np.arange(rows, dtype=np.int64) * period_ns,
            features=np.stack(features),
            applied=np.stack(applied),
            age_ns=np.zeros(rows, np.int64),
            versions=np.full(rows, version, np.int64),
            seam_rad=0.0,
            refused={},
            outcomes=(
                Outcome(
                    number=job.first_seq + number,
                    success=bool(info["success"]),
                    reason=str(info["reason"]),
                    policy_version=version,
                    started_ns=0,
                    ended_ns=rows * period_ns,
                ),
            ),
        )


def successes(segments: Sequence[Segment]) -> list[bool]:
    """Whether each episode succeeded, in order."""
    return [outcome.success for segment in segments for outcome in segment.outcomes]
