"""The gate: releases a candidate only if it beats the current policy beyond chance."""

from collections.abc import Sequence
from math import comb
from typing import NamedTuple


class GateVerdict(NamedTuple):
    """What the gate found. `wins`: seeds only the candidate solved; `losses`: only the incumbent.

    `candidate` and `incumbent` are success rates; `p` is how likely so many wins, or more, would
    be if neither were better.
    """

    released: bool
    p: float
    wins: int
    losses: int
    candidate: float
    incumbent: float

    def __str__(self) -> str:
        return (
            f"{self.candidate:.2f} against {self.incumbent:.2f} in the twin, "
            f"{self.wins} won, {self.losses} lost, p={self.p:.3g}"
        )


def judge(candidate: Sequence[bool], incumbent: Sequence[bool], p_max: float) -> GateVerdict:
    """Compares successes on the same seeds, in the same order.

    The exact one-sided sign test on the discordant pairs (McNemar's exact test). Raises
    ValueError if the two were not run on equally many seeds, or on none.
    """
    if len(candidate) != len(incumbent) or not candidate:
        raise ValueError(f"a paired test needs equal seeds: {len(candidate)}, {len(incumbent)}")
    pairs = list(zip(candidate, incumbent, strict=True))
    wins = sum(mine and not theirs for mine, theirs in pairs)
    losses = sum(theirs and not mine for mine, theirs in pairs)
    p = sign_test(wins, losses)
    return GateVerdict(
        released=wins > losses and p <= p_max,
        p=p,
        wins=wins,
        losses=losses,
        candidate=sum(candidate) / len(pairs),
        incumbent=sum(incumbent) / len(pairs),
    )


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
