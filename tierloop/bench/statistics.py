"""Intervals and verdicts. Pure: samples in, figures out; the one seed is fixed.

A percentile's interval comes from order statistics, which asks nothing of the distribution, and is
widened to what a bootstrap over whole blocks gives, since neighbouring samples are not independent.
A ratio of percentiles, ours to the baseline's, is bootstrapped over pairs of blocks that were
measured in turn. Both use the expanded percentile interval (Hesterberg 2015), which does not claim
too much for a dozen blocks. Too few samples for a percentile give an interval without an end, and
that is never a pass.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from math import ceil, floor, inf, sqrt
from typing import NamedTuple

import numpy as np
import scipy  # its parts load when they are used
from numpy.typing import NDArray

Samples = NDArray[np.float64]
Blocks = Sequence[Samples]

CONFIDENCE = 0.99
"""Of every interval, both ends together."""

BLOCKS_MIN = 8
"""Below it not even the whole range of the blocks covers their median at CONFIDENCE: 2 / 2^8."""

RESAMPLES = 1999

PROCESS_SPREAD = 0.09
"""How far times of one process may lie from those of all processes, as a share, at CONFIDENCE.

Memory lies differently in each. Over ten processes the least and the largest ratio of fifteen
messages differed by 2 to 9 %: standard deviations of 0.6 to 3.1 %, of which 9 % are 2.8.
"""

COUNT_SPREAD = 0.01
"""The same of instructions: 0.6 % over three runs."""

Statistic = Callable[[NDArray[np.int64]], float]
"""A figure of the blocks with these indices."""


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_JUDGED = "not judged"


class Estimate(NamedTuple):
    """A figure and its interval; an end that the samples do not reach is infinite."""

    value: float
    low: float
    high: float
    n: int


def exact(value: float, n: int = 1) -> Estimate:
    """A figure without spread, as a run on the virtual clock gives."""
    return Estimate(value, value, value, n)


def order_interval(
    samples: Samples, percentile: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The distribution-free interval of a percentile; -inf or inf where samples are too few."""
    n, p, alpha = len(samples), percentile / 100, 1 - confidence
    lower = int(scipy.stats.binom.ppf(alpha / 2, n, p)) if n else 0
    upper = int(scipy.stats.binom.ppf(1 - alpha / 2, n, p)) + 1
    ranked = np.sort(samples)
    return (
        float(ranked[lower - 1]) if lower >= 1 else -inf,
        float(ranked[upper - 1]) if upper <= n else inf,
    )


def percentile(blocks: Blocks, q: float, confidence: float = CONFIDENCE) -> Estimate:
    """A percentile over all samples. `blocks`: float64[n] each, of equal length or nearly."""
    pooled = np.concatenate(blocks) if blocks else np.empty(0)
    if not len(pooled):
        return Estimate(np.nan, -inf, inf, 0)
    low, high = order_interval(pooled, q, confidence)
    value = float(np.percentile(pooled, q))
    if len(blocks) < BLOCKS_MIN:
        return Estimate(value, -inf, inf, len(pooled))
    over = _bootstrap(len(blocks), _percentile(blocks, q), confidence)
    return Estimate(value, min(low, over[0]), max(high, over[1]), len(pooled))


def ratio(ours: Blocks, bare: Blocks, q: float, confidence: float = CONFIDENCE) -> Estimate:
    """A percentile of ours over that of the baseline; block k of both was measured in turn."""
    if len(ours) != len(bare):
        raise ValueError(f"{len(ours)} blocks of ours, {len(bare)} of the baseline")
    n = min(sum(map(len, ours)), sum(map(len, bare)))
    if not n:
        return Estimate(np.nan, -inf, inf, 0)
    statistic = _ratio(ours, bare, q)
    value = statistic(np.arange(len(ours)))
    ends = [order_interval(np.concatenate(side), q, confidence) for side in (ours, bare)]
    if len(ours) < BLOCKS_MIN or not np.isfinite(ends).all():
        return Estimate(value, -inf, inf, n)
    low, high = _bootstrap(len(ours), statistic, confidence)
    return Estimate(value, low, high, n)


def widened(estimate: Estimate, spread: float) -> Estimate:
    """The estimate from one process, as one of all: no end is nearer than that process may be."""
    low, high = estimate.low / (1 + spread), estimate.high * (1 + spread)
    return estimate._replace(low=low, high=high)


def judge(estimate: Estimate, limit: float) -> Verdict:
    """Pass if the whole interval keeps the limit, fail if none of it does."""
    if estimate.high <= limit:
        return Verdict.PASS
    return Verdict.FAIL if estimate.low > limit else Verdict.INCONCLUSIVE


def above(logs: Samples, limit: float) -> float:
    """The chance of log-ratios like these, float64[n], if their true mean were log(limit) or less.

    Student's test on one figure a pair of processes: the pairs, not the samples, are independent.
    """
    if len(logs) < 2:
        return 1.0
    if np.ptp(logs) == 0:
        return 0.0 if logs[0] > np.log(limit) else 1.0
    return float(scipy.stats.ttest_1samp(logs, np.log(limit), alternative="greater").pvalue)


def holm(chances: Sequence[float], alpha: float) -> list[bool]:
    """Which of several findings stand when the chance of any false one is to stay below `alpha`."""
    stands = [False] * len(chances)
    for rank, i in enumerate(np.argsort(chances, kind="stable")):
        if chances[i] > alpha / (len(chances) - rank):
            break
        stands[i] = True
    return stands


def share(hits: int, tries: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson 1934)."""
    interval = scipy.stats.binomtest(hits, tries).proportion_ci(confidence, "exact")
    return float(interval.low), float(interval.high)


def _percentile(blocks: Blocks, q: float) -> Statistic:
    """The percentile over the blocks chosen; all samples are ranked once, not for each choice."""
    pooled = np.concatenate(blocks)
    order = np.argsort(pooled)
    ranked = pooled[order]
    owner = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])[order]

    def of(chosen: NDArray[np.int64]) -> float:
        below = np.bincount(chosen, minlength=len(blocks))[owner].cumsum()
        rank = (below[-1] - 1) * q / 100
        low, high = ranked[np.searchsorted(below, (floor(rank), ceil(rank)), "right")]
        return float(low + (high - low) * (rank % 1))

    return of


def _ratio(ours: Blocks, bare: Blocks, q: float) -> Statistic:
    upper, lower = _percentile(ours, q), _percentile(bare, q)
    return lambda chosen: upper(chosen) / max(lower(chosen), np.finfo(float).tiny)


def _bootstrap(blocks: int, statistic: Statistic, confidence: float) -> tuple[float, float]:
    """The expanded percentile interval over resampled blocks."""
    t = scipy.stats.t.ppf((1 - confidence) / 2, blocks - 1)
    alpha = float(scipy.stats.norm.cdf(sqrt(blocks / (blocks - 1)) * t))
    found = scipy.stats.bootstrap(
        (np.arange(blocks),), lambda i: statistic(np.asarray(i, np.int64)), vectorized=False,
        n_resamples=RESAMPLES, confidence_level=1 - 2 * alpha, method="percentile",
        rng=np.random.default_rng(0),
    )  # fmt: skip
    interval = found.confidence_interval
    return float(interval.low), float(interval.high)
