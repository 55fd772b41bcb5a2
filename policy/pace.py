"""Measures how fast a policy answers on this host; never used on the virtual clock."""

import time

import numpy as np

from tierloop.contract.policy import Policy
from tierloop.contract.specs import FloatArray
from tierloop.policy.artefact import ArtefactError
from tierloop.policy.engine import WARM_ROWS

WARM_TRIES, BUSY_MAX = 3, 0.5
"""The best of so many answers to the largest batch may take this share of a period at most."""


def require_pace(policy: Policy) -> None:
    """Raises ArtefactError (slow) if the largest batch takes more than BUSY_MAX of a period.

    In time of the processor, so that what else the machine does is no reason.
    """
    rng, spec = np.random.default_rng(0), policy.spec
    features = np.stack([spec.observation.sample(rng) for _ in range(WARM_ROWS[-1])])
    spent_ns = min(_spent_ns(policy, features) for _ in range(WARM_TRIES))
    most_ns = BUSY_MAX * spec.period_ns
    if spent_ns > most_ns:
        said = f"{len(features)} answers take {spent_ns / 1e6:.3g} ms of a processor"
        raise ArtefactError("slow", f"{said}, at most {most_ns / 1e6:.3g}")


def _spent_ns(policy: Policy, features: FloatArray) -> int:
    begun_ns = time.thread_time_ns()
    policy.act(features)
    return time.thread_time_ns() - begun_ns
