"""Rollouts: a policy plays seeded episodes in the twin, at first with the help of a teacher."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from msgspec.structs import replace

from tierloop.contract.messages import Segment
from tierloop.contract.specs import FloatArray
from tierloop.policy.mlp import Mlp

PARTS_PER_EPISODE = 2
"""Parts in a row that make one episode in the twin. A body's day has no fresh starts: with one
part an episode, a policy that stalled after its first drop passed for perfect."""

TWIN = "twin"
"""The device of the segments that are recorded here, in the store."""


class Play(NamedTuple):
    """Episodes to live through, one a seed. `teacher_share`: chance that the teacher acts in one.

    They begin in `posture_rad` float32[joints], or where the seed says. The segments made are
    numbered `boot`, `first_seq` on.
    """

    policy: Mlp
    version: int
    seeds: tuple[int, ...]
    teacher_share: float = 0.0
    boot: int = 0
    first_seq: int = 0
    posture_rad: FloatArray | None = None


Answer = Callable[[FloatArray], FloatArray]
"""What acts: float32[N, D] features to float32[N, H, A] setpoints."""


class Twin(Protocol):
    """A world beside the real one; its bodies act in it as they do in life."""

    def live(
        self, seed: int, answer: Answer, version: int, posture_rad: FloatArray | None = None
    ) -> Segment:
        """One episode of PARTS_PER_EPISODE parts: what the body saw, did and came to.

        It begins at rest in `posture_rad` float32[joints], or where the seed says, and depends on
        that, `answer` and `seed` alone. `version` is that of the policy which answers.
        """
        ...


class TwinRollout:
    """Plays jobs in one twin; the teacher answers where it is its turn."""

    def __init__(self, twin: Twin, teacher: Answer) -> None:
        self._twin, self._teacher = twin, teacher

    def play(self, job: Play) -> list[Segment]:
        """One segment an episode, with the outcomes of its parts."""
        return [self._episode(job, number, seed) for number, seed in enumerate(job.seeds)]

    def _episode(self, job: Play, number: int, seed: int) -> Segment:
        taught = np.random.default_rng(seed).random() < job.teacher_share
        answer, version = (self._teacher, -1) if taught else (job.policy.forward, job.version)
        lived = self._twin.live(seed, answer, version, job.posture_rad)
        return replace(lived, device=TWIN, boot=job.boot, seq=job.first_seq + number)


def successes(segments: Sequence[Segment]) -> list[bool]:
    """Whether each episode succeeded, in order: every part of it did."""
    return [all(part.success for part in segment.outcomes) for segment in segments]
