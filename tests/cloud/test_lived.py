"""What bodies live through speaks louder than the twin, once it is beyond chance."""

import pytest
from scipy.stats import fisher_exact

from cloud.gate import worse
from cloud.lived import Lived
from contract.messages import Outcome


def outcomes(version, successes, episodes):
    return [
        Outcome(
            number=n, success=n < successes, reason="", policy_version=version, started_ns=0,
            ended_ns=1,
        )
        for n in range(episodes)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("now", "before"), [((2, 8), (14, 14)), ((0, 3), (9, 10)), ((5, 5), (1, 9)), ((0, 4), (0, 4))]
)
def test_the_test_is_fishers(now, before):
    (a, n), (c, m) = now, before
    expected = fisher_exact([[a, n - a], [c, m - c]], alternative="less").pvalue
    assert worse(a, n, c, m) == pytest.approx(expected)


def test_a_release_falls_when_it_lives_worse_beyond_chance():
    lived = Lived()
    lived.take(outcomes(1, 14, 14) + outcomes(2, 1, 3))
    assert lived.fallen(2) is None, "three episodes say little"
    lived.take(outcomes(2, 0, 5))
    fall = lived.fallen(2)
    assert (fall.version, fall.before) == (2, 1)
    assert "1 of 8 lived against 14 of 14" in str(fall)


def test_nothing_falls_for_what_was_withdrawn_or_never_lived():
    lived = Lived()
    lived.take(outcomes(-1, 9, 9) + outcomes(3, 0, 9))
    assert lived.fallen(3) is None, "mixed episodes are no release"
    lived.take(outcomes(1, 3, 9) + outcomes(2, 9, 9))
    assert lived.fallen(3).before == 2
    lived.leave_out(2)
    assert lived.fallen(3) is None, "three of nine against none may be chance"
    assert lived.fallen(4) is None
