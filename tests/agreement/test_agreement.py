"""The wall clock against the virtual one, on the sorting cell over wifi with a trained policy.

The bounds are the command's own. A busy machine can only make the wall's ages longer, never
shorter, and a model that is wrong disagrees every time: so the wall has a second try.
"""

import numpy as np
import pytest

from tierloop.benchmarks import agreement
from tierloop.benchmarks.agreement import Seen, agreements
from tierloop.benchmarks.rig.teach import teach
from tierloop.sim.scenario import Scenario

SECONDS = 15.0
TRIES = 2


def seen(clock, age_ms, episodes=40, successes=36):
    return Seen(clock, np.asarray(age_ms, float), np.ones(3), episodes, successes, 0.0)


AGES = np.random.default_rng(0).lognormal(2.2, 0.7, 4000)


@pytest.mark.parametrize("n", [1, 9, 30, 49, 100, 777])
def test_where_all_succeed_on_both_clocks_they_agree(n):
    verdicts = agreements(seen("wall", AGES, n, n), seen("virtual", AGES, n + 9, n + 9))
    assert all(verdict.agrees for verdict in verdicts)


def names_of_what_disagrees(virtual):
    return [v.name.split(",")[0] for v in agreements(seen("wall", AGES), virtual) if not v.agrees]


@pytest.mark.parametrize(
    ("virtual", "expected"),
    [
        (seen("virtual", AGES), []),
        (seen("virtual", AGES + 1.9), []),
        (seen("virtual", 1.09 * AGES), []),
        (seen("virtual", AGES + 3.1), ["age p50"]),
        (seen("virtual", AGES - 3.1), ["age p50"]),
        (seen("virtual", np.where(AGES > 15, 2 * AGES, AGES)), ["age p90"]),
        (seen("virtual", AGES, successes=24), ["success"]),
        (seen("virtual", AGES, 4000, 3960), ["success"]),
    ],
)
def test_figures_agree_within_the_bounds_and_not_beyond(virtual, expected):
    assert names_of_what_disagrees(virtual) == expected


@pytest.fixture(scope="session")
def policy(tmp_path_factory):
    path = tmp_path_factory.mktemp("policy") / "policy.artefact"
    path.write_bytes(teach(Scenario(), rounds=1, episodes=10))
    return path


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_both_clocks_tell_the_same_story(policy, tmp_path):
    virtual = agreement.run("virtual", policy, SECONDS, tmp_path / "virtual")
    assert len(virtual.age_ms) > 20 * 2 * SECONDS * 0.8
    told = []
    for number in range(TRIES):
        wall = agreement.run("wall", policy, SECONDS, tmp_path / f"wall{number}")
        verdicts = agreements(wall, virtual)
        told += map(str, verdicts)
        if all(verdict.agrees for verdict in verdicts):
            return
    pytest.fail("\n".join(told))
