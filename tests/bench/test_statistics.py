"""Statistics, tested by simulation: what an interval claims, it keeps."""

from math import inf

import numpy as np
import pytest
from scipy.stats import norm

from tierloop.bench import statistics as st
from tierloop.bench.statistics import Verdict


def machine(rng, blocks=12, count=60, scale=1.0, wander=0.1):
    """Blocks of log-normal latencies whose level wanders from block to block."""
    levels = np.exp(wander * rng.standard_normal(blocks))
    return [scale * level * rng.lognormal(0, 0.3, count) for level in levels]


@pytest.mark.parametrize(("q", "n"), [(50, 101), (95, 600), (99, 2000)])
def test_an_order_interval_covers_the_true_percentile_as_often_as_it_says(q, n):
    rng = np.random.default_rng(1)
    true = float(np.exp(0.3 * norm.ppf(q / 100)))
    tries = 1000
    hits = 0
    for _ in range(tries):
        low, high = st.order_interval(rng.lognormal(0, 0.3, n), q, 0.95)
        hits += low <= true <= high
    assert hits / tries >= 0.935


def test_an_order_interval_is_not_wider_than_need_be():
    low, high = st.order_interval(np.arange(1.0, 1001.0), 50, 0.99)
    assert 455 < low < 465
    assert 536 < high < 546


@pytest.mark.parametrize(("q", "few", "enough"), [(50, 7, 8), (95, 60, 110), (99, 300, 600)])
def test_too_few_samples_leave_the_interval_open(q, few, enough):
    assert st.order_interval(np.arange(float(few)), q)[1] == inf
    assert st.order_interval(np.arange(float(enough)), q)[1] < inf


def test_few_blocks_leave_an_interval_of_nearly_their_whole_range():
    """The expanded interval (Hesterberg 2015) of eight blocks; 90 % of it would end at 1 and 6."""
    blocks = [np.full(5, float(level)) for level in range(8)]
    for found in (st.percentile(blocks, 50), st.ratio(blocks, [np.ones(5)] * 8, 50)):
        assert found.low < 0.5
        assert found.high > 6.5


@pytest.mark.slow
def test_a_percentile_of_a_wandering_machine_is_covered_where_order_statistics_alone_fail():
    rng = np.random.default_rng(2)
    hits = naive = 0
    for _ in range(150):
        blocks = machine(rng, wander=0.1)
        estimate = st.percentile(blocks, 50, 0.95)
        hits += estimate.low <= 1.0 <= estimate.high
        low, high = st.order_interval(np.concatenate(blocks), 50, 0.95)
        naive += low <= 1.0 <= high
    assert hits >= 135
    assert naive < 120


@pytest.mark.slow
@pytest.mark.parametrize("true", [1.0, 1.5])
def test_a_ratio_is_covered_when_drift_hits_both_sides_alike(true):
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(150):
        drift = np.exp(0.3 * rng.standard_normal(10))
        ours = [d * b for d, b in zip(drift, machine(rng, 10, 40, true, 0.03), strict=True)]
        bare = [d * b for d, b in zip(drift, machine(rng, 10, 40, 1.0, 0.03), strict=True)]
        estimate = st.ratio(ours, bare, 50, 0.95)
        hits += estimate.low <= true <= estimate.high
    assert hits >= 135


@pytest.mark.slow
def test_a_ratio_at_its_limit_is_seldom_called_broken():
    rng = np.random.default_rng(4)
    verdicts = [
        st.judge(st.ratio(machine(rng, scale=1.3), machine(rng), 50), 1.3) for _ in range(100)
    ]
    assert verdicts.count(Verdict.FAIL) <= 3
    assert verdicts.count(Verdict.PASS) <= 3


def test_a_clear_break_is_found_and_a_clear_pass_passes():
    rng = np.random.default_rng(5)
    ours, bare = machine(rng, scale=2.0, wander=0.02), machine(rng, wander=0.02)
    estimate = st.ratio(ours, bare, 50)
    assert st.judge(estimate, 1.5) is Verdict.FAIL
    assert st.judge(estimate, 2.5) is Verdict.PASS
    assert st.judge(estimate, estimate.value) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("blocks", [0, 1, 7])
def test_few_blocks_are_never_a_pass(blocks):
    samples = [np.ones(1000)] * blocks
    assert st.judge(st.percentile(samples, 50), 100.0) is Verdict.INCONCLUSIVE
    assert st.judge(st.ratio(samples, samples, 50), 100.0) is Verdict.INCONCLUSIVE


def test_too_few_samples_for_the_percentile_are_inconclusive_though_the_median_passes():
    samples = [np.ones(20)] * 10
    assert st.judge(st.ratio(samples, samples, 50), 1.5) is Verdict.PASS
    assert st.judge(st.ratio(samples, samples, 99), 1.5) is Verdict.INCONCLUSIVE
    assert st.judge(st.percentile(samples, 99), 1.5) is Verdict.INCONCLUSIVE


def test_one_process_is_no_certainty_about_the_next():
    """Processes of one program whose ratios differ by 3.1 %, the widest that was seen."""
    rng = np.random.default_rng(8)
    quiet = [rng.normal(1.0, 0.01, 40) for _ in range(10)]
    within = st.ratio(quiet, quiet[::-1], 50)
    alarms = naive = 0
    for level in np.exp(0.031 * rng.standard_normal(2000)):
        found = st.Estimate(*(level * np.array(within[:3])), within.n)
        alarms += st.judge(st.widened(found, st.PROCESS_SPREAD), 1.0) is not Verdict.INCONCLUSIVE
        naive += st.judge(found, 1.0) is not Verdict.INCONCLUSIVE
    assert alarms <= 20
    assert naive > 1000


def test_unequal_sides_are_a_mistake():
    with pytest.raises(ValueError, match="3 blocks of ours, 2"):
        st.ratio([np.ones(5)] * 3, [np.ones(5)] * 2, 50)


def test_an_exact_figure_is_judged_as_it_is():
    assert st.judge(st.exact(1.0), 1.0) is Verdict.PASS
    assert st.judge(st.exact(1.0000001), 1.0) is Verdict.FAIL


def test_the_test_on_pairs_keeps_its_level():
    rng = np.random.default_rng(6)
    null = np.array([st.above(rng.normal(np.log(1.05), 0.02, 8), 1.05) for _ in range(2000)])
    assert 0.035 < (null < 0.05).mean() < 0.065
    found = [st.above(rng.normal(np.log(1.2), 0.02, 8), 1.05) < 0.01 for _ in range(200)]
    assert np.mean(found) > 0.98
    assert st.above(np.array([0.5]), 1.05) == 1.0
    assert st.above(np.full(4, 0.5), 1.05) == 0.0


def test_holm_keeps_the_chance_of_any_false_finding():
    rng = np.random.default_rng(7)
    any_false = [any(st.holm(list(rng.random(6)), 0.05)) for _ in range(2000)]
    assert 0.03 < np.mean(any_false) < 0.07
    assert st.holm([0.2, 0.001, 0.02], 0.05) == [False, True, True]
    assert st.holm([0.04, 0.04], 0.05) == [False, False]
    assert st.holm([], 0.05) == []


def test_a_share_has_its_exact_interval():
    low, high = st.share(1, 20)
    assert low == pytest.approx(0.00127, abs=1e-4)
    assert high == pytest.approx(0.2487, abs=1e-3)
