"""How often does the gate err? Chances of a release within ten rounds, from drawn outcomes.

    python -m tierloop.benchmarks.gate

Nothing is played: in every round a candidate and the incumbent draw the outcome of each seed, each
by its own rate of success and apart from the other, and the gate judges them with the settings
that `[learner]` has if nobody says otherwise. The same seed draws the same outcomes.
"""

import argparse
from typing import NamedTuple

import numpy as np

from tierloop.benchmarks.rig import markdown
from tierloop.cloud.config import LearnerConfig
from tierloop.cloud.gate import GateVerdict, judge
from tierloop.views.charts import wilson

ROUNDS, TRIALS, SEED = 10, 2000, 1
INCUMBENTS = (0.9, 0.8, 0.5)
CHANGES = (0.0, -0.05, -0.1, -0.2, 0.05, 0.07, 0.1)


class Found(NamedTuple):
    """What came of the trials of one pair of rates.

    `released` of `trials` had a release within ROUNDS; `seeds` is how many a round played on
    average, and `flattery` how much better than its true rate a released candidate did in it.
    """

    released: int
    trials: int
    seeds: float
    flattery: float


def draw(incumbent: float, candidate: float, rng: np.random.Generator) -> GateVerdict:
    """One round between such rates of success."""
    config = LearnerConfig()
    mine, theirs = rng.random((2, config.gate_episodes)) < [[candidate], [incumbent]]
    return judge(
        lambda part: (mine[part].tolist(), theirs[part].tolist()),
        config.gate_episodes,
        config.gate_p,
    )


def find(incumbent: float, change: float, trials: int, seed: int) -> Found:
    """ROUNDS rounds a trial, or as many as there are until a release."""
    rng = np.random.default_rng(seed)
    verdicts: list[GateVerdict] = []
    for _ in range(trials):
        for _ in range(ROUNDS):
            verdicts.append(draw(incumbent, incumbent + change, rng))
            if verdicts[-1].released:
                break
    scores = [v.candidate for v in verdicts if v.released]
    return Found(
        released=len(scores),
        trials=trials,
        seeds=float(np.mean([v.seeds for v in verdicts])),
        flattery=float(np.mean(scores)) - incumbent - change if scores else np.nan,
    )


def line(incumbent: float, change: float, found: Found) -> str:
    """The line of one pair of rates; the interval is of 95 %."""
    low, high = wilson(found.released, found.trials)
    return markdown.row(
        f"{incumbent:.2f}",
        f"{change:+.2f}" if change else "equal",
        f"{100 * found.released / found.trials:.1f} % ({100 * low:.1f} to {100 * high:.1f})",
        f"{found.seeds:.0f}",
        f"{found.flattery:+.2f}" if found.released else "—",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--trials", type=int, default=TRIALS, help="of ten rounds, for each line")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    heads = ("incumbent", "candidate", "released", "seeds a round", "score above truth")
    print(markdown.table(heads, ()))
    for incumbent in INCUMBENTS:
        for change in CHANGES:
            found = find(incumbent, change, options.trials, options.seed)
            print(line(incumbent, change, found), flush=True)


if __name__ == "__main__":
    main()
