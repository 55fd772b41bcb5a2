"""The twin is as hard as life: it acts as a body does, and its answers come late."""

import msgspec
import numpy as np
import pytest

from tierloop.cloud.rollout import PARTS_PER_EPISODE
from tierloop.contract.clock import NS_PER_MS
from tierloop.device.config import ActingConfig, DeviceConfig
from tierloop.device.guard import Guard
from tierloop.device.workspace import Workspace
from tierloop.link.direction import DirectionSpec
from tierloop.link.spec import LinkSpec
from tierloop.sim.catalogue import expert
from tierloop.sim.reality import Reality
from tierloop.sim.scenario import Scenario, body_spec, policy_spec
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile, LinksConfig
from tierloop.stack.order import Order
from tierloop.stack.twin import twin_of
from tierloop.stack.wall.processes import table

SCENARIO = Scenario(belt_low_m_s=0.1, belt_high_m_s=0.15, episode_s=5.0)
SPEC = policy_spec(SCENARIO)
TEACHER = expert(SPEC)
NAIVE = DeviceConfig(acting=ActingConfig(anchor="arrival", predict=False, blend_ms=0))


def twin(delay_ms=0.0, device=None, scenario=SCENARIO, **link):
    links = LinksConfig(device=LinkSpec(delay_ms=delay_ms, **link))
    deployment = resolve(
        DeploymentFile(name="twin", scenario=scenario, links=links, device=device or DeviceConfig())
    )
    return twin_of(deployment, "1")()


def sorted_share(world, seeds):
    judged = [o.success for seed in seeds for o in world.live(seed, TEACHER, 1).outcomes]
    return sum(judged) / len(judged)


@pytest.fixture(scope="module")
def late():
    """An episode behind a link of 60 ms each way, and the features of each question put in it."""
    asked = []

    def answer(features):
        asked.append(features[0])
        return TEACHER(features)

    return twin(60.0).live(3, answer, 1), np.stack(asked)


def test_an_answer_is_as_old_as_the_deployments_link_makes_it(late):
    prompt = twin(0.0).live(3, TEACHER, 1)
    prompt_ms, late_ms = (np.median(s.age_ns) / NS_PER_MS for s in (prompt, late[0]))
    assert prompt_ms == pytest.approx(50, abs=5), "the answer to the question before"
    assert late_ms == pytest.approx(150, abs=5)


def test_the_twin_does_not_know_what_the_robots_really_are():
    real = Reality(drive_lag_ms=80, drive_bandwidth=0.3, drive_strength=0.4)
    one, other = (
        twin_of(resolve(DeploymentFile(name="twin", scenario=SCENARIO, reality=reality)), "1")()
        for reality in (Reality(), real)
    )
    first, second = (world.live(3, TEACHER, 1) for world in (one, other))
    assert np.array_equal(first.features, second.features)
    assert np.array_equal(first.applied, second.applied)


def test_only_devices_are_told_what_they_really_are(tmp_path):
    real = Reality(drive_strength=0.5)
    deployment = resolve(DeploymentFile(name="twin", reality=real))
    told = {
        process.role: msgspec.json.decode(process.order, type=Order).deployment.reality
        for process in table(deployment, ("device", "edge", "cloud"), tmp_path, "ipc://r", 0)
    }
    assert told == {"device": real, "edge": Reality(), "cloud": Reality()}


def test_both_ways_of_the_deployments_link_count_each_with_its_own_delay():
    uneven = LinkSpec(up=DirectionSpec(delay_ms=90), down=DirectionSpec(delay_ms=30))
    links = LinksConfig(device=uneven)
    deployment = resolve(DeploymentFile(name="twin", scenario=SCENARIO, links=links))
    ages_ns = twin_of(deployment, "1")().live(3, TEACHER, 1).age_ns
    assert np.median(ages_ns) / NS_PER_MS == pytest.approx(150, abs=5)


def test_a_late_answer_costs_in_the_twin_what_it_costs_in_life():
    seeds = range(2)
    assert sorted_share(twin(0.0), seeds) == 1.0
    assert sorted_share(twin(100.0, NAIVE), seeds) < 0.5


def test_the_guard_is_between_the_policy_and_the_body(monkeypatch):
    body = body_spec(SCENARIO)

    def wild(features):
        rng = np.random.default_rng(abs(int(features.sum() * 1e6)))
        rows = rng.uniform(SPEC.action.low, SPEC.action.high, (1, SPEC.horizon, SPEC.action.size))
        return rows.astype(np.float32)

    def fastest():
        applied = twin().live(1, wild, 1).applied[:, :-1]
        return np.abs(np.diff(applied, axis=0)).max(0) / (SPEC.period_ns * 1e-9)

    assert (fastest() <= np.array(body.velocity_rad_s) + 1e-6).all()
    monkeypatch.setattr(
        Guard,
        "_reach",
        lambda self, wish: (
            [(w - at) / self._dt_s for w, at in zip(wish, self._last, strict=True)],
            wish,
            0,
        ),
    )
    monkeypatch.setattr(Workspace, "keeps", lambda self, joints, velocity: True)
    assert (fastest() > np.array(body.velocity_rad_s)).any()


def test_a_lost_answer_is_followed_by_the_chunk_before():
    segment = twin(5.0, loss=0.5, burst_ms=0).live(2, TEACHER, 1)
    ages_ms = segment.age_ns / NS_PER_MS
    assert ages_ms.max() > 2 * SPEC.period_ns / NS_PER_MS
    again = twin(5.0, loss=0.5, burst_ms=0).live(2, TEACHER, 1)
    np.testing.assert_array_equal(segment.applied, again.applied)


def test_experience_is_what_was_lived_not_what_was_foreseen(late):
    segment, asked = late
    assert len(asked) == len(segment.features)
    assert not np.allclose(asked, segment.features, atol=1e-3)


def test_the_plant_has_a_twin_too():
    scenario = Scenario(task="reach", body="plant", episode_s=3.0)
    world, spec = twin(scenario=scenario), policy_spec(scenario)
    segment = world.live(1, expert(spec), 1)
    assert [outcome.success for outcome in segment.outcomes] == [True] * PARTS_PER_EPISODE
    assert not np.array_equal(
        segment.features, world.live(2, expert(spec), 1).features[: len(segment.features)]
    )
    assert msgspec.structs.asdict(segment)["spec"] == spec.digest
    posture = np.array([0.4, -0.3], np.float32)
    elsewhere = world.live(1, expert(spec), 1, posture)
    np.testing.assert_array_equal(elsewhere.features[0, :2], posture)
