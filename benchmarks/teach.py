"""Makes a trained policy for the benchmarks: rounds of DAgger in the twin, serially, seeded.

    python -m benchmarks.teach policy.artefact

The same trainer, teacher, learner and export as the cloud's, without a cloud around them: the
student's own episodes in the twin, the teacher's labels, one fit a round. It ends once the
policy solves `enough` of the gate's episodes. Same seed, same machine: same bytes.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cloud.backend import Hands, SerialBackend
from cloud.config import LearnerConfig
from cloud.experience import Experience
from cloud.teacher import Teacher
from cloud.trainer import Trainer
from contract.messages import Segment
from sim.scenario import Scenario, policy_spec
from tierloop import __version__

LEARNER = LearnerConfig(twin_episodes=24, steps_per_round=1500, gate_episodes=20, gate_p=0.999)
"""Large rounds and an open gate: the last round counts, not the way there."""


def teach(
    scenario: Scenario,
    seed: int = 0,
    enough: float = 0.95,
    rounds: int = 12,
    told: Callable[[str], None] = lambda _: None,
) -> bytes:
    """The artefact of the first policy that solves `enough` of the gate, else the last release."""
    spec, software = policy_spec(scenario), f"tierloop {__version__}"
    backend = SerialBackend(Hands(scenario, LEARNER, software))
    trainer = Trainer(spec, LEARNER, Teacher(spec).label, backend, seed, software)
    blob = trainer.untrained().blob
    for number in range(1, rounds + 1):
        trainer.fit([_experience(trainer.play())])
        verdict = trainer.judge()
        blob = trainer.conclude().blob or blob
        told(f"round {number}: {verdict.candidate:.2f} of the gate's episodes solved")
        if verdict.released and verdict.candidate >= enough:
            break
    return blob


def _experience(segments: list[Segment]) -> Experience:
    features = np.concatenate([segment.features for segment in segments])
    return Experience(features, (), {"lived": 0, "twin": len(features)}, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path, help="the policy artefact to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--horizon", type=int, default=8, help="rows of a chunk, 50 ms apart")
    parser.add_argument("--enough", type=float, default=0.95, help="share of the gate to solve")
    args = parser.parse_args()
    scenario = Scenario(horizon=args.horizon)
    blob = teach(scenario, args.seed, args.enough, told=lambda line: print(line, flush=True))
    args.out.write_bytes(blob)
    print(f"{args.out}: {len(blob)} bytes")


if __name__ == "__main__":
    main()
