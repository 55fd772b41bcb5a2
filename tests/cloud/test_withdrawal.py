"""What bodies live through speaks louder than the twin, once it is beyond chance."""

import pytest
from scipy.stats import fisher_exact

from tierloop.cloud.gate import worse
from tierloop.cloud.testimony import Heard
from tierloop.cloud.withdrawal import WAIT_NS, ReleaseScores
from tierloop.contract.messages import Outcome


def outcomes(version, successes, episodes, robot="arm-0"):
    return [
        Heard(
            robot,
            Outcome(
                number=n, success=n < successes, reason="", policy_version=version, started_ns=0,
                ended_ns=1,
            ),
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
    scores = ReleaseScores()
    scores.take(outcomes(1, 14, 14) + outcomes(2, 1, 3))
    assert scores.fallen(2) is None, "three episodes say little"
    scores.take(outcomes(2, 0, 5))
    fall = scores.fallen(2)
    assert (fall.version, fall.before) == (2, 1)
    assert "1 of 8 episodes succeeded, against 14 of 14" in str(fall)


def test_nothing_falls_for_what_was_withdrawn_or_never_lived():
    scores = ReleaseScores()
    scores.take(outcomes(-1, 9, 9) + outcomes(3, 0, 9))
    assert scores.fallen(3) is None, "mixed episodes are no release"
    scores.take(outcomes(1, 3, 9) + outcomes(2, 9, 9))
    assert scores.fallen(3).before == 2
    scores.leave_out(2)
    assert scores.fallen(3) is None, "three of nine against none may be chance"
    assert scores.fallen(4) is None


def test_one_robot_takes_no_release_back_that_the_other_lives_well_with():
    """Sixty failures of one robot, true or made up, against thirty successes of the other."""
    scores = ReleaseScores()
    for robot in ("arm-0", "arm-1"):
        scores.take(outcomes(1, 30, 30, robot))
    scores.take(outcomes(2, 30, 30, "arm-0") + outcomes(2, 0, 60, "arm-1"))
    assert scores.fallen(2) is None
    scores.take(outcomes(2, 0, 40, "arm-0"))
    assert scores.fallen(2).before == 1, "now both live worse"


def test_one_robot_keeps_no_release_that_the_others_fail_with():
    """Two thousand successes of one robot count for no more than what the next has."""
    scores = ReleaseScores()
    for robot in ("arm-0", "arm-1", "arm-2"):
        scores.take(outcomes(1, 10, 10, robot))
    scores.take(outcomes(2, 2000, 2000, "arm-2"))
    scores.take(outcomes(2, 0, 10, "arm-0") + outcomes(2, 0, 10, "arm-1"))
    assert str(scores.fallen(2)).startswith(
        "v2 withdrawn for v1: 10 of 30 episodes succeeded, against 30 of 30"
    )


@pytest.mark.parametrize("successes", [0, 2000])
def test_a_robot_that_never_lived_before_has_nothing_to_compare(successes):
    scores = ReleaseScores()
    scores.take(outcomes(1, 10, 10) + outcomes(2, 10, 10))
    scores.take(outcomes(2, successes, 2000, "evil"))
    assert scores.fallen(2) is None
    scores.take(outcomes(2, 0, 20))
    assert scores.fallen(2) is not None


def test_a_version_that_one_robot_alone_names_judges_nothing():
    scores = ReleaseScores()
    for robot in ("arm-0", "arm-1"):
        scores.take(outcomes(1, 30, 30, robot) + outcomes(3, 30, 30, robot))
    scores.take(outcomes(2, 60, 60, "evil") + outcomes(3, 0, 60, "evil"))
    assert scores.fallen(3) is None


def test_the_verdict_waits_for_who_lived_before_but_not_for_ever():
    scores, now_ns = ReleaseScores(), 10**12
    for robot in ("arm-0", "arm-1"):
        scores.take(outcomes(1, 30, 30, robot), now_ns)
    scores.take(outcomes(2, 0, 60, "arm-1"), now_ns)
    assert scores.fallen(2, now_ns + WAIT_NS - 1) is None, "the other may speak yet"
    assert scores.fallen(2, now_ns + WAIT_NS) is not None, "it is gone"
    scores.take(outcomes(2, 30, 30, "arm-0"), now_ns)
    assert scores.fallen(2, now_ns + WAIT_NS) is None
