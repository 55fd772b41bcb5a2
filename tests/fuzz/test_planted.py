"""Each of twelve planted bugs is found within 200 seeds, and called by its name."""

import pytest
from bugs import BUGS

from tierloop.fuzz.session import fuzz

SEEDS = 200
FIRST = {
    "acknowledge_before_commit": 3,
    "chunk_not_anchored": 142,
    "freshness_by_heartbeat": 60,
    "guard_skipped_on_fallback": 60,
    "hold_entered_late": 60,
    "id_reused_after_reboot": 36,
    "no_dedupe": 30,
    "queue_unbounded": 112,
    "rollback_not_recorded": 123,
    "tick_replayed_after_overrun": 60,
    "unit_swap": 142,
    "version_compare_wrong": 27,
}
"""The seed of a short run that finds it, tried first: no other is needed while it does."""


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
