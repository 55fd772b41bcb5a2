"""A release to many devices: how long it takes is exact, and what goes wrong shows."""

import numpy as np
import pytest
from msgspec.structs import replace

from tierloop.bench.protocol import by_turns
from tierloop.benchmarks import fleet
from tierloop.benchmarks.virtual import SCENARIO, expert
from tierloop.link.spec import LinkSpec

ROBOTS = fleet.ROBOTS[:4]


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """A push over the links of the benchmark."""
    return pushed(tmp_path_factory.mktemp("usual") / "push")


def pushed(folder, links=fleet.LINKS):
    folder.mkdir()
    return fleet.push(ROBOTS, links, folder)


def test_every_device_acts_by_it_soon_and_the_same_again(tmp_path, usual):
    once, again = usual, pushed(tmp_path / "again")
    assert once.pushed_ms() == again.pushed_ms()
    assert once.missed() == 0
    bare_ms = fleet.modelled_ms("orin-nx", len(fleet.released(fleet.NEW)))
    assert 0.8 * bare_ms < min(once.pushed_ms())
    assert max(once.pushed_ms()) < 1000


def test_a_slow_link_to_the_cloud_shows(tmp_path, usual):
    slow = replace(fleet.LINKS, cloud=LinkSpec(preset="5g", delay_ms=54))
    later = np.array(pushed(tmp_path / "slow", slow).pushed_ms())
    assert np.median(later - np.array(usual.pushed_ms())) > 3 * 50 - 25


def test_a_device_that_never_acts_by_it_counts_with_the_whole_time(tmp_path, monkeypatch):
    monkeypatch.setattr(fleet.Clouds, "node", lambda _self, _name, node: node)
    watched_ms = fleet.WATCHED_NS / fleet.NS_PER_MS
    assert pushed(tmp_path / "never").pushed_ms() == [watched_ms] * len(ROBOTS)


def test_a_fleet_that_was_not_up_is_no_figure(tmp_path):
    nowhere = replace(fleet.LINKS, device=LinkSpec(delay_ms=900))
    with pytest.raises(
        RuntimeError, match="did not act by v1 before the release: plant-0, plant-1"
    ):
        pushed(tmp_path / "nowhere", nowhere).pushed_ms()


def test_the_wide_expert_answers_as_the_expert():
    rng = np.random.default_rng(1)
    features = rng.uniform(-1.5, 1.5, (32, 4)).astype(np.float32)
    narrow = expert()
    np.testing.assert_allclose(
        fleet.wide(narrow).forward(features), narrow.forward(features), atol=1e-5
    )
    assert SCENARIO.horizon == narrow.spec.horizon


def test_blocks_go_on_until_there_are_enough():
    (blocks,) = by_turns(0.0, lambda: [1.0], least=5)
    assert len(blocks) == 5
