"""The gate lets nothing through that chance could have made."""

from itertools import product
from math import comb
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierloop.benchmarks import gate as benchmark
from tierloop.cloud.gate import LOOKS, judge, least_wins, sign_test

PAGE = Path(__file__).parents[2] / "docs/gate.md"


def gate(candidate, incumbent, p_max):
    """The verdict on outcomes that are known beforehand."""
    return judge(lambda part: (candidate[part], incumbent[part]), len(candidate), p_max)


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [(0, 0, 1.0), (1, 0, 0.5), (4, 0, 1 / 16), (0, 4, 1.0), (5, 1, 7 / 64), (8, 2, 56 / 1024)],
)
def test_the_sign_test_is_exact(wins, losses, p):
    assert sign_test(wins, losses) == p


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_sign_test_is_a_tail(wins, losses):
    n = wins + losses
    below = sum(comb(n, k) for k in range(wins)) / 2**n
    assert sign_test(wins, losses) == pytest.approx(1 - below, abs=1e-12)


def test_enough_wins_are_released_with_their_figures():
    verdict = gate([True] * 12, [False] * 5 + [True] * 7, 0.1)
    assert verdict.released
    assert verdict.p == 1 / 32
    assert (verdict.wins, verdict.losses, verdict.seeds) == (5, 0, 12)
    assert (verdict.candidate, verdict.incumbent) == (1.0, 7 / 12)
    assert str(verdict) == "1.00 against 0.58 in the twin, 5 won, 0 lost of 12, p=0.0312"


def test_the_same_rate_on_other_seeds_is_not_better():
    verdict = gate([True, False] * 8, [False, True] * 8, 0.9)
    assert not verdict.released
    assert verdict.wins == verdict.losses == 8


def test_too_few_wins_are_refused_even_without_a_loss():
    assert least_wins(0.1) == 4
    assert not gate([True] * 3, [False] * 3, 0.1).released
    assert gate([True] * 4, [False] * 4, 0.1).released


def test_fewer_wins_than_losses_are_refused_at_any_level():
    assert not gate([True, False, False], [False, True, True], 0.999).released


def test_a_candidate_that_is_far_better_is_released_early():
    assert gate([True] * 120, [False] * 120, 0.0025)[:4] == (True, 2**-20, 20, 0)


@pytest.mark.parametrize("candidate", [True, False])
def test_a_candidate_that_does_not_get_ahead_is_refused_early(candidate):
    verdict = gate([candidate] * 120, [True] * 120, 0.0025)
    assert not verdict.released
    assert verdict.seeds == (20 if candidate else 10)


def test_one_win_behind_the_pace_is_gone_on_with_and_two_are_not():
    """At 0.1 four wins are the least: one more every three seeds. None may come later than here."""

    def won_at(*seeds):
        return gate([True] * 12, [at not in seeds for at in range(12)], 0.1)

    assert won_at(3, 6, 9, 11).released
    assert [won_at(4, 6, 9, 11).seeds, won_at(3, 7, 9, 11).seeds] == [4, 7]


@pytest.mark.parametrize("p_max", [0.0025, 0.05, 0.2, 0.5])
@pytest.mark.parametrize("seeds", [9, LOOKS + 1])
def test_an_equal_candidate_is_released_with_the_level_at_most(seeds, p_max):
    """Exactly, where every seed tells the two apart: all ways to win and lose are as likely."""
    ways = list(product((True, False), repeat=seeds))
    released = sum(gate(won, [not one for one in won], p_max).released for won in ways)
    assert released <= p_max * len(ways)
    assert released > 0 or least_wins(p_max) > seeds


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=64))
def test_nothing_is_released_both_ways(pairs):
    mine, theirs = zip(*pairs, strict=True)
    assert not (gate(mine, theirs, 0.5).released and gate(theirs, mine, 0.5).released)


@pytest.mark.parametrize("sides", [([True], []), ([], [True])])
def test_unpaired_runs_are_a_mistake(sides):
    with pytest.raises(ValueError, match="argument"):
        judge(lambda _: sides, 1, 0.1)


def test_the_gate_errs_as_rarely_as_its_page_says():
    """The lines for an incumbent of 0.90, drawn anew; the rest is drawn by the command."""
    page = PAGE.read_text("utf-8")
    found = {
        change: benchmark.find(0.9, change, benchmark.TRIALS, benchmark.SEED)
        for change in (0.0, -0.05, -0.1, -0.2, 0.07)
    }
    for change, figures in found.items():
        assert benchmark.line(0.9, change, figures) in page
    share = {change: figures.released / figures.trials for change, figures in found.items()}
    assert share[-0.2] <= share[-0.1] <= 0.01
    assert share[-0.05] <= share[0.0] <= 0.02
    assert share[0.07] >= 0.6
