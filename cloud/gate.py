"""The gate: releases a candidate only if it beats the current policy beyond chance.

Both play the same seeds, which no round before has seen, and nothing is kept of earlier rounds. A
round ends as soon as its outcome is clear. How often it errs: docs/gate.md.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from math import ceil, comb, log2
from typing import NamedTuple

LOOKS = 12
"""How often a round looks at its figures, at most: after equal shares of its seeds."""

EARLY = 0.1
"""Share of the level that is spread over the looks before the last; the last has the rest.

So a candidate that is far better is released early, and the last look loses little by it: the
stopping rule of Haybittle (1971) and Peto et al. (1976).
"""

Duel = Callable[[slice], tuple[Sequence[bool], Sequence[bool]]]
"""Plays this slice of a round's seeds: successes of candidate and of incumbent, in order."""


class GateVerdict(NamedTuple):
    """What the gate found. `wins`: seeds only the candidate solved; `losses`: only the incumbent.

    `candidate` and `incumbent` are success rates over the `seeds` that were played; `p` is how
    likely so many wins, or more, would be if neither were better.
    """

    released: bool
    p: float
    wins: int
    losses: int
    candidate: float
    incumbent: float
    seeds: int

    def __str__(self) -> str:
        return (
            f"{self.candidate:.2f} against {self.incumbent:.2f} in the twin, "
            f"{self.wins} won, {self.losses} lost of {self.seeds}, p={self.p:.3g}"
        )


def judge(duel: Duel, seeds: int, p_max: float) -> GateVerdict:
    """One round on so many seeds at most.

    Releases a candidate that is no better with a chance of `p_max` at most: the looks share it.
    Refuses as soon as the candidate falls behind the lead that a flawless one needs to be released
    at the end, less one win.
    Raises ValueError if candidate and incumbent were not run on equally many seeds.
    """
    step, least = ceil(seeds / LOOKS), least_wins(p_max)
    ends = [*range(step, seeds, step), seeds]
    pairs: Counter[tuple[bool, bool]] = Counter()
    for end in ends:
        pairs.update(zip(*duel(slice(pairs.total(), end)), strict=True))
        share = 1 - EARLY if end == seeds else EARLY / (len(ends) - 1)
        verdict = _verdict(pairs, p_max * share)
        lead = verdict.wins - verdict.losses
        if verdict.released or lead + 1 < least * end / seeds:
            break
    return verdict


def least_wins(p_max: float) -> int:
    """With fewer wins no candidate is released at the last look, even without a loss."""
    return max(1, ceil(-log2(p_max * (1 - EARLY))))


def _verdict(pairs: Counter[tuple[bool, bool]], level: float) -> GateVerdict:
    """The exact one-sided sign test on the discordant pairs (McNemar's exact test)."""
    wins, losses, both = pairs[True, False], pairs[False, True], pairs[True, True]
    n, p = pairs.total(), sign_test(wins, losses)
    released = wins > losses and p <= level
    return GateVerdict(released, p, wins, losses, (both + wins) / n, (both + losses) / n, n)


def worse(successes: int, episodes: int, before: int, episodes_before: int) -> float:
    """How likely so few `successes` would be if it were as good as what had `before` of its own.

    Fisher's exact one-sided test: what bodies live through has no pairs, so the successes of both
    are dealt out anew, as if by chance.
    """
    n, good = episodes + episodes_before, successes + before
    ways = sum(
        comb(good, k) * comb(n - good, episodes - k)
        for k in range(max(0, episodes - (n - good)), successes + 1)
    )
    return ways / comb(n, episodes)


def sign_test(wins: int, losses: int) -> float:
    """P(X >= wins) for X ~ Binomial(wins + losses, 1/2), exactly; 1 if there were none."""
    n = wins + losses
    tail = sum(comb(n, k) for k in range(wins, n + 1))
    return float(tail / 2**n)
