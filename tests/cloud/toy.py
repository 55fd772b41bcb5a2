"""A toy world with the same interfaces: a joint must follow a goal. It is learnt in an instant."""

import numpy as np

from tierloop.cloud.backend import Fitted
from tierloop.cloud.config import LearnerConfig
from tierloop.cloud.learner import Learner
from tierloop.cloud.rollout import TWIN
from tierloop.cloud.trainer import Trainer
from tierloop.contract.messages import Outcome, Segment

STEPS = 12


def label(features):
    """The teacher: half of the way to the goal with each row, suction on when near."""
    at, goal = features[:, 0], features[:, 1]
    ways = at[:, None] + (goal - at)[:, None] * (1 - 0.5 ** np.arange(1, 5))
    near = np.repeat((np.abs(goal - at) < 0.2)[:, None], 4, axis=1)
    return np.clip(np.stack([ways, near], axis=2), -1, 1).astype(np.float32)


def episode(job, number, seed, spec):
    rng = np.random.default_rng(seed)
    taught = rng.random() < job.teacher_share
    at, goal = rng.uniform(-0.9, 0.9, 2)
    if job.posture_rad is not None:
        (at,) = job.posture_rad.tolist()
    features, applied = [], []
    for _ in range(STEPS):
        row = np.array([[at, goal, 0.0]], np.float32)
        chunk = label(row) if taught else job.policy.forward(row)
        features.append(row[0])
        applied.append(chunk[0, 0])
        at = float(chunk[0, 0, 0])
    outcome = Outcome(
        number=number,
        success=bool(abs(at - goal) < 0.1),
        reason="",
        policy_version=job.version,
        started_ns=0,
        ended_ns=1,
    )
    return Segment(
        device=TWIN,
        boot=job.boot,
        seq=job.first_seq + number,
        body="dot",
        software="1",
        spec=spec.digest,
        captured_ns=np.arange(STEPS, dtype=np.int64),
        features=np.stack(features),
        applied=np.stack(applied),
        age_ns=np.zeros(STEPS, np.int64),
        versions=np.full(STEPS, job.version, np.int64),
        seam_rad=0.0,
        refused={},
        outcomes=(outcome,),
    )


class ToyBackend:
    """Plays in the toy world and fits with the real learner; breaks when told to."""

    def __init__(self, spec):
        self._spec, self.broken, self.jobs, self.fits = spec, False, [], []

    def start(self):
        self._unless_broken()

    def play(self, jobs):
        self._unless_broken()
        self.jobs.extend(jobs)
        return [
            [episode(job, i, seed, self._spec) for i, seed in enumerate(job.seeds)] for job in jobs
        ]

    def fit(self, job):
        self._unless_broken()
        self.fits.append(job)
        if job.start is None:
            learner = Learner(self._spec, config(), job.seed)
        else:
            learner = Learner.from_mlp(job.start, config(), job.seed)
        policy = learner.fit(job.features, job.labels)
        return Fitted(policy, learner.losses[-1])

    def cancel(self):
        pass

    def close(self):
        pass

    def _unless_broken(self):
        if self.broken:
            raise RuntimeError("broken")


def config(**changes):
    small = {
        "hidden": (32,),
        "learning_rate": 3e-3,
        "batch_size": 64,
        "steps_per_round": 500,
        "twin_episodes": 8,
        "min_lived": 40,
        "gate_episodes": 12,
        "gate_p": 0.1,
    }
    return LearnerConfig(**(small | changes))


def toy_trainer(spec, backend, seed=1, **changes):
    return Trainer(spec, config(**changes), label, backend, seed, "1", boot=5)
