"""The jitter of a link: its distribution, whatever the rate of messages, and its course in time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.link import jitter
from tierloop.link.jitter import Jitter, law

pytestmark = pytest.mark.untraced  # many samples of few lines, which others trace

TAILED = (1, 8, 150, 500)
"""As wifi's."""
LIGHT = (10, 20, 28, 31)
ENDLESS = (10, 20, 31, 0)
LAWS = [TAILED, LIGHT, ENDLESS]


def waits_ms(points, apart_ms, n, seed=1):
    one = Jitter(law(*points), np.random.default_rng(seed))
    apart_ns = round(apart_ms * NS_PER_MS)
    return np.array([one.wait_ns(i * apart_ns) / NS_PER_MS for i in range(n)])


def unlike(waits, points):
    """The distance of Kolmogorov and Smirnov; those that do not wait at all count as one."""
    levels = np.geomspace(1e-6, 50, 40_000)
    expected = np.array([law(*points).wait_ms(level) for level in levels])
    found = np.sort(waits)
    shares = (np.arange(len(found)) + 0.5) / len(found)
    gaps = np.abs(np.interp(found, expected[::-1], np.exp(-levels)[::-1]) - shares)
    return gaps[found > 0].max() * np.sqrt(len(found))


@pytest.mark.parametrize("points", LAWS)
def test_a_law_meets_its_points(points):
    p50, p90, p99, longest = points
    found = law(*points)
    for share, ms in ((0.5, p50), (0.9, p90), (0.99, p99)):
        assert found.wait_ms(-math.log(share)) == pytest.approx(ms, rel=1e-6)
    assert found.wait_ms(0.0) == pytest.approx(longest, rel=1e-3) if longest else 1e300


@pytest.mark.parametrize("points", LAWS)
def test_waits_far_apart_have_the_declared_distribution(points):
    """Kolmogorov and Smirnov do not tell them from it."""
    assert unlike(waits_ms(points, 1e6, 20_000), points) < 1.95  # p > 0.001


@pytest.mark.parametrize("points", LAWS)
@pytest.mark.parametrize("apart_ms", [0.2, 5, 50])
def test_the_distribution_does_not_depend_on_how_often_somebody_asks(points, apart_ms, monkeypatch):
    """One instant of many lives: that many messages went before changes nothing."""
    monkeypatch.setattr(jitter, "_DRAWS", 32)  # a life is short: 256 would be drawn for few
    lives = [waits_ms(points, apart_ms, 40, seed)[-1] for seed in range(4000)]
    assert unlike(lives, points) < 1.95  # p > 0.001


@pytest.mark.parametrize("points", LAWS)
@pytest.mark.parametrize("apart_ms", [0.2, 5, 50])
def test_nothing_overtakes(points, apart_ms):
    waits = waits_ms(points, apart_ms, 5000)
    assert (np.diff(waits) >= -apart_ms - 2e-6).all()
    assert waits.max() <= (points[3] or math.inf)


def test_what_is_sent_during_a_stall_comes_out_together_at_its_end():
    """So the wait falls by what has passed, and a stall of 100 ms is over after 100 ms."""
    waits = waits_ms(TAILED, 1, 200_000)
    falls = np.isclose(np.diff(waits), -1, atol=1e-5)
    assert falls[waits[:-1] > 20].mean() > 0.98
    begins = np.flatnonzero((waits[1:] > 100) & (waits[:-1] < 2))
    assert len(begins) > 5
    ends = [i + 1 + math.ceil(waits[i + 1]) for i in begins]
    assert sum(waits[end + 1] < 20 for end in ends) > 0.6 * len(ends), "the others met another"


def test_waits_are_alike_soon_after_and_unlike_long_after():
    waits = waits_ms(ENDLESS, 1, 100_000)

    def correlation(lag):
        return np.corrcoef(waits[:-lag], waits[lag:])[0, 1]

    assert correlation(1) > 0.8
    assert abs(correlation(200)) < 0.05


def test_the_same_seed_and_instants_give_the_same():
    assert (waits_ms(TAILED, 5, 500) == waits_ms(TAILED, 5, 500)).all()
    assert (waits_ms(TAILED, 5, 500) != waits_ms(TAILED, 5, 500, seed=2)).any()


def test_two_messages_of_one_instant_wait_alike():
    one = Jitter(law(*TAILED), np.random.default_rng(1))
    at_ns = 3 * 365 * 86400 * NS_PER_S
    assert one.wait_ns(at_ns) == one.wait_ns(at_ns) == one.wait_ns(at_ns - 5)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ((5, 0, 0, 0), "all be 0, or each greater than the one before, got 5, 0, 0"),
        ((1, 2, 2, 0), "each greater"),
        ((1, 2, 2.05, 0), "jitter_p99_ms is too near to jitter_p90_ms, .*, got 2.05 after 1 and 2"),
        ((1, 2, 1e18, 0), "beyond all measure"),
        ((1, 2, 9, 9.1), "jitter_max_ms must be farther from jitter_p99_ms, got 9.1 and 9"),
        ((1, 2, 9, 5), "jitter_max_ms must be farther"),
    ],
)
def test_points_that_no_link_has_are_refused(points, words):
    with pytest.raises(ValueError, match=words):
        law(*points)


@given(
    st.floats(0, 100), st.floats(0.01, 1000), st.floats(0.3, 500), st.floats(4, 20), st.booleans()
)
def test_any_law_that_is_taken_goes_through_its_points(p50, further, tail, longest, ends):
    p90 = p50 + further
    p99 = p90 + further * tail
    found = law(p50, p90, p99, p99 + longest * (p99 - p50) if ends else 0)
    at = [found.wait_ms(-math.log(share)) for share in (0.5, 0.9, 0.99)]
    assert at == pytest.approx([p50, p90, p99], rel=1e-5, abs=1e-6)
    assert found.k > -1
    waits = [found.wait_ms(level) for level in (50, 5, 1, 0.1, 0.01, 1e-4, 0)]
    assert waits == sorted(waits)
