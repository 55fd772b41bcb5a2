"""What computing costs on the virtual clock: durations by the tier's hardware profile."""

from collections.abc import Callable, Sequence
from math import ceil, exp
from typing import Any

import numpy as np

from tierloop.cloud.backend import Backend, Fit, Fitted
from tierloop.cloud.config import CloudConfig, LearnerConfig
from tierloop.cloud.rollout import Play
from tierloop.contract.clock import NS_PER_US
from tierloop.contract.messages import Segment
from tierloop.contract.policy import Work
from tierloop.stack.config.hardware import Profile

_DRAWS = 256


class Charge:
    """Draws durations of the jobs of a profile; the same as `Profile.duration_ns`, but quick.

    `extrapolated` hears, once each, what the profile was charged for but not fitted on.
    """

    def __init__(
        self, profile: Profile, rng: np.random.Generator, extrapolated: Callable[[str], None]
    ) -> None:
        self._profile, self._rng, self._extrapolated = profile, rng, extrapolated
        self._known: dict[tuple[str, int, Work | None], tuple[float, float]] = {}
        self._told = {""}
        self._normal: list[float] = []

    def ns(self, job: str, rows: int = 1) -> int:
        """One draw."""
        known = self._known.get((job, rows, None))
        if known is None:
            curve = getattr(self._profile.jobs, job)
            known = curve.median_us(rows) * NS_PER_US, curve.jitter
            self._known[job, rows, None] = known
        return self._draw(*known)

    def infer_ns(self, work: Work | None, rows: int) -> int:
        """One draw of an answer to `rows` observations by a policy of this work."""
        known = self._known.get(("infer", rows, work))
        if known is None:
            curve = self._profile.jobs.infer
            known = curve.us_of(work, rows) * NS_PER_US, curve.jitter
            self._known["infer", rows, work] = known
            outside = curve.outside(work, rows)
            if outside not in self._told:
                self._told.add(outside)
                self._extrapolated(outside)
        return self._draw(*known)

    def _draw(self, median_ns: float, jitter: float) -> int:
        if not self._normal:
            self._normal = self._rng.standard_normal(_DRAWS).tolist()
        return max(1, int(median_ns * exp(jitter * self._normal.pop())))


class Stretched:
    """A job that is charged `factor` times what it takes."""

    def __init__(self, job: Callable[[], Any], factor: float) -> None:
        self._job, self.factor = job, factor

    def __call__(self) -> Any:
        return self._job()


class Metered:
    """A backend that counts what its jobs came to, so that they can be charged afterwards.

    `pulse` is called between jobs, which may take long on the wall; what it raises ends the work.
    """

    def __init__(
        self,
        backend: Backend,
        cloud: CloudConfig,
        learner: LearnerConfig,
        pulse: Callable[[], None],
    ) -> None:
        self._backend, self._workers, self._pulse = backend, cloud.workers, pulse
        self._samples = learner.steps_per_round * learner.batch_size
        self._twin = 0
        self._fit = 0

    def start(self) -> str | None:
        return self._backend.start()

    def play(self, jobs: Sequence[Play]) -> list[list[Segment]]:
        played = []
        for job in jobs:
            self._pulse()
            played += self._backend.play([job])
        self._twin += sum(len(s.captured_ns) for segments in played for s in segments)
        return played

    def fit(self, job: Fit) -> Fitted:
        """On one thread, so that the host's number of cores does not show in the weights."""
        self._pulse()
        self._fit += self._samples
        return self._backend.fit(job)

    def cancel(self) -> None:
        self._backend.cancel()

    def close(self) -> None:
        self._backend.close()

    def take_ns(self, charge: Charge) -> int:
        """The price of what was done since the last call; workers play side by side."""
        twin, fit = ceil(self._twin / self._workers), self._fit
        self._twin = self._fit = 0
        price_ns = charge.ns("twin", twin) if twin else 0
        return price_ns + (charge.ns("fit", fit) if fit else 0)
