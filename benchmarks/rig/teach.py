"""Makes a trained policy for the benchmarks: rounds of DAgger in the twin, serially, seeded.

    python -m tierloop.benchmarks.rig.teach policy.artefact

The cloud's own hands, teacher, learner and export, without a cloud and a gate around them: in each
round the student acts (at first the teacher for it), the teacher labels, and the student is fitted
on all there is. Same seed, same machine: same bytes.
"""

import argparse
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from tierloop.cloud.backend import Fit, Hands
from tierloop.cloud.config import LearnerConfig
from tierloop.cloud.export import export
from tierloop.cloud.rollout import Play, successes
from tierloop.contract.version import __version__
from tierloop.policy.artefact import pack
from tierloop.policy.mlp import Mlp
from tierloop.sim.catalogue import expert
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile
from tierloop.stack.twin import twin_of

ROUNDS, EPISODES = 5, 24
"""Rounds, and episodes of two parts each in a round."""
LEARNER = LearnerConfig(steps_per_round=1500)


def teach(
    scenario: Scenario,
    seed: int = 0,
    rounds: int = ROUNDS,
    episodes: int = EPISODES,
    told: Callable[[str], None] = lambda _: None,
) -> bytes:
    """The artefact of the policy after so many rounds, as version 1."""
    spec, software = policy_spec(scenario), f"tierloop {__version__}"
    twin = twin_of(resolve(DeploymentFile(name="teach", scenario=scenario)), software)
    teacher, hands = expert(spec), Hands(spec, LEARNER, twin)
    policy = Mlp.random(spec, LEARNER.hidden, seed)
    features = np.empty((0, spec.observation.size), np.float32)
    solved = 0.0
    for number in range(rounds):
        words = np.random.SeedSequence((seed, number)).generate_state(episodes)
        play = Play(policy, 1, tuple(map(int, words >> 1)), teacher_share=0.5**number)
        segments = hands.play(play)
        solved = float(np.mean(successes(segments)))
        features = np.concatenate([features, *(segment.features for segment in segments)])
        start = policy if number else None
        policy = hands.fit(Fit(start, features, teacher(features), seed + number)).policy
        told(f"round {number + 1} of {rounds}: {solved:.2f} of the episodes solved")
    artefact = export(
        policy, version=1, parents=(0,), software=software, seed=seed, trained_on=(),
        samples={"lived": 0, "twin": len(features)}, metrics={"success": solved},
    )  # fmt: skip
    return pack(artefact)


@cache
def taught() -> bytes:
    """The sorting cell's policy, taught once in this process."""
    return teach(Scenario())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path, help="the policy artefact to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--horizon", type=int, default=8, help="rows of a chunk, 50 ms apart")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    scenario = Scenario(horizon=args.horizon)
    blob = teach(scenario, args.seed, args.rounds, told=lambda line: print(line, flush=True))
    args.out.write_bytes(blob)
    print(f"{args.out}: {len(blob)} bytes")


if __name__ == "__main__":
    main()
