"""The trainer: rounds of DAgger. The student acts, the teacher labels, the gate decides.

A round is `play` (twin episodes), `fit` (on all experience so far, lived and twin), `judge`
(against the incumbent, on fresh seeds) and `conclude` (release or refuse). Each is one job of the
learn lane; between them the node moves experience through the store.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from tierloop.cloud.backend import Backend, Fit
from tierloop.cloud.config import LearnerConfig
from tierloop.cloud.experience import Experience
from tierloop.cloud.export import export
from tierloop.cloud.gate import GateVerdict, judge
from tierloop.cloud.lineage import PolicyRecord, SegmentRange, ranges
from tierloop.cloud.reservoir import Reservoir
from tierloop.cloud.rollout import Play, successes
from tierloop.contract.messages import Segment
from tierloop.contract.specs import FloatArray, PolicySpec
from tierloop.policy.artefact import DataRange, digest, pack, unpack
from tierloop.policy.mlp import Mlp

_PLAY, _GATE, _FIT = range(3)


class Trainer:
    """The state of learning. Version k is the candidate of round k; version 0 is untrained.

    `version` is the next candidate's number, `parent` that of the weights it goes on from (a
    refused candidate's too), `incumbent` the newest release. Same seed, same experience: same
    candidates.
    """

    def __init__(
        self,
        spec: PolicySpec,
        config: LearnerConfig,
        label: Callable[[FloatArray], FloatArray] | None,
        backend: Backend,
        seed: int,
        software: str,
        boot: int = 0,
    ) -> None:
        """`label` is the teacher, float32[N, D] to float32[N, H, A]; None without rounds."""
        self._spec, self._config, self._backend = spec, config, backend
        self._seed, self._software, self._boot = seed, software, boot
        self._label = label
        self._joints = [
            spec.observation.labels.index(joint)
            for joint in spec.action.labels
            if joint in spec.observation.labels
        ]
        self._been = np.empty((0, len(self._joints)), np.float32)
        self._policy = self._best = self._candidate = Mlp.random(spec, config.hidden, seed)
        self._verdict: GateVerdict | None = None
        self._rows = Reservoir(config.rows_max, seed)
        self._data: tuple[SegmentRange, ...] = ()
        self._played = 0
        self._loss = 0.0
        self.samples: Counter[str] = Counter()
        self.version = self.parent = self.incumbent = 0

    def resume(self, newest: PolicyRecord, next_version: int) -> None:
        """Goes on from the newest release. Raises ArtefactError if it does not fit the spec."""
        artefact = unpack(newest.blob)
        self._policy = self._best = self._candidate = Mlp.decode(artefact.mlp, self._spec)
        self.parent = self.incumbent = newest.version
        self.version = next_version

    def withdraw(self, before: PolicyRecord) -> None:
        """The incumbent lives worse than `before`, which candidates have to beat from now on.

        Learning goes on from the newest weights: what they failed at is in the data by now.
        """
        artefact = unpack(before.blob)
        self._best = Mlp.decode(artefact.mlp, self._spec)
        self.incumbent = before.version

    @property
    def learns(self) -> bool:
        """Whether there is any round at all."""
        return self._config.rounds_max > 0

    @property
    def resting(self) -> bool:
        """Whether all rounds are done."""
        return self.version > self._config.rounds_max

    def enough(self, news: Sequence[Experience]) -> bool:
        """Whether a round may begin: something newly lived, and for the first one `min_lived`."""
        lived = sum(experience.samples["lived"] for experience in news)
        return lived >= (1 if self.samples else self._config.min_lived)

    def untrained(self) -> PolicyRecord:
        """Version 0: the random start, released without a gate."""
        return self._conclude({})

    def play(self, news: Sequence[Experience]) -> list[Segment]:
        """Twin episodes of this round: the student acts, at first the teacher in some.

        `news` is what has come since the last round: it says where the bodies are to be met.
        """
        self._been = np.concatenate([experience.features for experience in news])[:, self._joints]
        seeds = self._seeds(_PLAY, self.version, n=self._config.twin_episodes)
        share = 0.5 ** (self.version - 1)
        begin = self._begin(seeds)
        jobs = self._jobs(self._policy, self.parent, seeds, begin, share, self._played)
        segments = self._run(jobs)
        self._played += len(segments)
        return segments

    def fit(self, news: Sequence[Experience]) -> None:
        """Labels what is new, then fits all there is."""
        assert self._label is not None
        for experience in news:
            if len(experience.features):
                labels = self._label(experience.features)
                self._rows.add(experience.features, labels, experience.owners)
            self._data = ranges(experience.keys, self._data)
            self.samples.update(experience.samples)
        start = self._policy if self.parent > 0 else None
        (seed,) = self._seeds(_FIT, self.version, n=1)
        self._candidate, self._loss = self._backend.fit(Fit(start, *self._rows.rows(), seed))

    def judge(self) -> GateVerdict:
        """Candidate against incumbent on the same episodes, which no round before has seen."""
        seeds = self._seeds(_GATE, self.version, n=self._config.gate_episodes)
        begin = self._begin(seeds)

        def duel(part: slice) -> tuple[list[bool], list[bool]]:
            """Both sides' episodes go to the backend at once: no worker waits for one side."""
            candidate = self._jobs(self._candidate, self.version, seeds[part], begin[part])
            incumbent = self._jobs(self._best, self.incumbent, seeds[part], begin[part])
            solved = successes(self._run(candidate + incumbent))
            return solved[: len(candidate)], solved[len(candidate) :]

        self._verdict = judge(duel, len(seeds), self._config.gate_p)
        return self._verdict

    def conclude(self) -> PolicyRecord:
        """Ends the round: what to record, and to release if its state says so."""
        if (verdict := self._verdict) is None:
            raise RuntimeError("conclude follows judge")
        figures = {
            "success": verdict.candidate,
            "incumbent": verdict.incumbent,
            "p": verdict.p,
            "loss": self._loss,
        }
        return self._conclude(figures, verdict.released)

    def _conclude(self, figures: dict[str, float], released: bool = True) -> PolicyRecord:
        version, data = self.version, self._data
        parents = () if version == 0 else (self.parent,)
        blob = b""
        if released:
            artefact = export(
                self._candidate,
                version=version,
                parents=parents,
                software=self._software,
                seed=self._seed,
                trained_on=tuple(
                    DataRange(device=s.device, boot=s.boot, first=s.first, last=s.last)
                    for s in data
                ),
                samples=dict(self.samples),
                metrics=figures,
            )
            blob = pack(artefact)
            self._best, self.incumbent = self._candidate, version
        self._policy, self.parent, self.version = self._candidate, version, version + 1
        state = "released" if released else "refused"
        return PolicyRecord(version, digest(blob), parents, state, figures, blob, data)

    def _begin(self, seeds: Sequence[int]) -> list[FloatArray | None]:
        """Where episodes begin: every other one where a body has been, the rest anew (None).

        A release takes over from the one before, wherever that has left the body.
        """
        been = self._been
        return [
            been[np.random.default_rng(seed).integers(len(been))] if i % 2 and len(been) else None
            for i, seed in enumerate(seeds)
        ]

    def _jobs(
        self,
        policy: Mlp,
        version: int,
        seeds: Sequence[int],
        begin: Sequence[FloatArray | None],
        share: float = 0.0,
        first: int = 0,
    ) -> list[Play]:
        """One episode a job: workers end together, and work can be stopped between two."""
        return [
            Play(policy, version, (seed,), share, self._boot, first + i, posture)
            for i, (seed, posture) in enumerate(zip(seeds, begin, strict=True))
        ]

    def _run(self, jobs: Sequence[Play]) -> list[Segment]:
        return [segment for done in self._backend.play(jobs) for segment in done]

    def _seeds(self, *purpose: int, n: int) -> tuple[int, ...]:
        """Seeds for one purpose, the same in every run of this seed."""
        words = np.random.SeedSequence((self._seed, *purpose)).generate_state(n)
        return tuple(int(word) >> 1 for word in words)
