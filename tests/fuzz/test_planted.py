"""Each of twelve planted bugs is found within 200 seeds, and called by its name."""

import pytest
from bugs import BUGS

from tierloop.fuzz.session import fuzz

SEEDS = 200


def test_there_are_twelve():
    assert len(BUGS) == 12


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name):
    plant, breaks, first = BUGS[name]
    with plant():
        for seed in (*range(first, SEEDS), *range(first)):
            found = fuzz(seed, "both", "analytic").found
            if found:
                assert {*found} & breaks, found
                return
    pytest.fail(f"{name} was not found in {SEEDS} seeds")
