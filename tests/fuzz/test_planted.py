"""Each of twelve planted bugs is found within 200 seeds, and called by its name."""

import pytest
from bugs import BUGS

from tierloop.fuzz.session import fuzz

SEEDS = 200
FIRST = {
    "acknowledge_before_commit": 3,
    "id_reused_after_reboot": 10,
    "queue_unbounded": 58,
    "rollback_not_recorded": 2,
    "tick_replayed_after_overrun": 12,
    "version_compare_wrong": 5,
}
"""Seeds known to find what others seldom do; tried first, to save most of a minute."""


def test_there_are_twelve():
    assert len(BUGS) == 12


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name):
    plant, breaks = BUGS[name]
    first = FIRST.get(name, 0)
    with plant():
        for seed in (*range(first, SEEDS), *range(first)):
            found = fuzz(seed, "both", "analytic").found
            if found:
                assert {*found} & breaks, found
                return
    pytest.fail(f"{name} was not found in {SEEDS} seeds")
