"""What takes long in the cloud (playing, fitting), and the backend that does it in this process."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from tierloop.cloud.config import LearnerConfig
from tierloop.cloud.rollout import Play, Twin, TwinRollout
from tierloop.contract.messages import Segment
from tierloop.contract.specs import FloatArray, PolicySpec
from tierloop.policy.mlp import Mlp
from tierloop.sim.catalogue import expert


class Fit(NamedTuple):
    """One fit on features float32[N, D] and labels float32[N, H, A]; no `start` means untrained."""

    start: Mlp | None
    features: FloatArray
    labels: FloatArray
    seed: int


class Fitted(NamedTuple):
    """The network, and the mean loss over the last tenth of the steps."""

    policy: Mlp
    loss: float


class Cancelled(Exception):
    """The process is ending; the work is not done."""


class Backend(Protocol):
    """Does jobs, in any place and order; same jobs, same results. For one lane, until `cancel`."""

    def start(self) -> str | None:
        """Gets ready, which may take seconds; what there is to say of it, if anything.

        Raises if it cannot, and may then be called again.
        """
        ...

    def play(self, jobs: Sequence[Play]) -> list[list[Segment]]:
        """The segments of each job, in the jobs' order."""
        ...

    def fit(self, job: Fit) -> Fitted:
        """The outcome of one fit."""
        ...

    def cancel(self) -> None:
        """Makes calls under way and to come raise; returns at once, fit for a signal handler."""
        ...

    def close(self) -> None:
        """Ends all work and what was started for it."""
        ...


class Hands:
    """What one worker can do. Worlds and libraries are loaded when first needed."""

    def __init__(self, spec: PolicySpec, config: LearnerConfig, twin: Callable[[], Twin]) -> None:
        """`twin` makes a world of one's own, in whatever process it is called."""
        self._spec, self._config, self._make_twin = spec, config, twin
        self._rollout: TwinRollout | None = None

    def play(self, job: Play) -> list[Segment]:
        self._rollout = self._rollout or TwinRollout(self._make_twin(), expert(self._spec))
        return self._rollout.play(job)

    def fit(self, job: Fit) -> Fitted:
        from tierloop.cloud.learner import Learner

        if job.start is None:
            learner = Learner(self._spec, self._config, job.seed)
        else:
            learner = Learner.from_mlp(job.start, self._config, job.seed)
        policy = learner.fit(job.features, job.labels)
        tail = learner.losses[-max(1, len(learner.losses) // 10) :]
        return Fitted(policy, sum(tail) / len(tail))


class SerialBackend:
    """One pair of hands in the caller's thread."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._cancelled = False

    def start(self) -> None:
        pass

    def play(self, jobs: Sequence[Play]) -> list[list[Segment]]:
        return [self._unless_cancelled().play(job) for job in jobs]

    def fit(self, job: Fit) -> Fitted:
        return self._unless_cancelled().fit(job)

    def cancel(self) -> None:
        self._cancelled = True

    def close(self) -> None:
        self._cancelled = True

    def _unless_cancelled(self) -> Hands:
        if self._cancelled:
            raise Cancelled
        return self._hands
