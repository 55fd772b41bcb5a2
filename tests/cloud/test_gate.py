"""The gate lets nothing through that chance could have made."""

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierloop.cloud.gate import judge, sign_test


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
    verdict = judge([True] * 8, [False] * 4 + [True] * 4, 0.1)
    assert verdict.released
    assert verdict.p == 1 / 16
    assert (verdict.wins, verdict.losses) == (4, 0)
    assert (verdict.candidate, verdict.incumbent) == (1.0, 0.5)
    assert str(verdict) == "1.00 against 0.50 in the twin, 4 won, 0 lost, p=0.0625"


def test_the_same_rate_on_other_seeds_is_not_better():
    verdict = judge([True, False] * 8, [False, True] * 8, 0.9)
    assert not verdict.released
    assert verdict.wins == verdict.losses == 8


def test_too_few_wins_are_refused_even_without_a_loss():
    assert not judge([True] * 3, [False] * 3, 0.1).released


def test_fewer_wins_than_losses_are_refused_at_any_level():
    assert not judge([True, False, False], [False, True, True], 0.999).released


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=64))
def test_nothing_is_released_both_ways(pairs):
    mine, theirs = zip(*pairs, strict=True)
    assert not (judge(mine, theirs, 0.5).released and judge(theirs, mine, 0.5).released)


@pytest.mark.parametrize("sides", [([], []), ([True], [])])
def test_unpaired_runs_are_a_mistake(sides):
    with pytest.raises(ValueError, match="equal seeds"):
        judge(*sides, 0.1)
