"""Twin episodes in the real simulator: repeatable, labelled by who acted, learnt from."""

import numpy as np
import pytest
from msgspec import structs

from tierloop.cloud.backend import Cancelled, Hands, SerialBackend
from tierloop.cloud.config import LearnerConfig
from tierloop.cloud.experience import Experience
from tierloop.cloud.rollout import PARTS_PER_EPISODE, TWIN, Play, TwinRollout, successes
from tierloop.cloud.trainer import Trainer
from tierloop.contract.codec import Codec
from tierloop.contract.messages import SegmentId
from tierloop.policy.mlp import Mlp
from tierloop.sim.embody import embody
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.sim.tasks.sort.expert import Expert
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile
from tierloop.stack.twin import twin_of

SCENARIO = Scenario(belt_low_m_s=0.1, belt_high_m_s=0.15, episode_s=5.0)
SPEC = policy_spec(SCENARIO)
LABELS = SPEC.observation.labels
UNTRAINED = Mlp.random(SPEC, (16,), 1)


def twins(scenario):
    return twin_of(resolve(DeploymentFile(name="twin", scenario=scenario)), "1")


TWIN_OF = twins(SCENARIO)


def rollout():
    return TwinRollout(TWIN_OF(), Expert(SPEC).label)


@pytest.fixture(scope="module")
def twin():
    return rollout()


@pytest.fixture(scope="module")
def untrained(twin):
    """The untrained student's episodes of the seeds 7 and 1, the first of this twin."""
    return twin.play(Play(UNTRAINED, 4, (7, 1), boot=9, first_seq=20))


def test_an_episode_depends_on_its_policy_and_seed_alone(twin, untrained):
    alone, next_one = untrained
    before, behind = twin.play(Play(UNTRAINED, 1, (1, 7)))
    (other,) = rollout().play(Play(UNTRAINED, 1, (7,)))
    for one, again in ((next_one, before), (alone, behind), (alone, other)):
        np.testing.assert_array_equal(one.features, again.features)
        np.testing.assert_array_equal(one.applied, again.applied)
        assert successes([one]) == successes([again])
    assert not np.array_equal(alone.features[0], next_one.features[0])


def test_an_episode_begins_in_the_posture_it_is_given_with_the_parts_of_its_seed(twin, untrained):
    posture = np.array([0.6, 0.5, 0.5, -2.85, 0.4, 2.2, 0.6], np.float32)
    drawn = untrained[0]
    given = twin.play(Play(UNTRAINED, 1, (7,), posture_rad=posture))[0]
    np.testing.assert_allclose(given.features[0, :7], posture, atol=1e-6)
    assert not np.allclose(drawn.features[0, :7], posture, atol=0.1)
    heights = [segment.features[5, LABELS.index("part_height_m")] for segment in (drawn, given)]
    assert heights[0] == heights[1] > 0, "the same part comes"


def test_the_student_acts_in_its_own_name(untrained):
    assert [segment.seq for segment in untrained] == [20, 21]
    segment = untrained[0]
    assert (segment.device, segment.boot) == (TWIN, 9)
    assert set(segment.versions) == {-1, 4}
    assert list(segment.versions).count(-1) == 1, "nothing is in force before the first answer"
    assert [part.policy_version for part in segment.outcomes] == [4] * PARTS_PER_EPISODE
    assert segment.spec == SPEC.digest
    Codec().encode(segment)


def test_the_teacher_acts_when_it_is_its_turn_and_sorts(twin):
    segments = twin.play(Play(UNTRAINED, 1, (1, 2), teacher_share=1.0))
    assert successes(segments) == [True, True]
    assert {version for segment in segments for version in segment.versions} == {-1}


def test_the_untrained_student_sorts_nothing(untrained):
    assert successes(untrained) == [False, False]


def one_round(config, scenario=SCENARIO):
    backend = SerialBackend(Hands(SPEC, config, twins(scenario)))
    trainer = Trainer(SPEC, config, Expert(SPEC).label, backend, 3, "1")
    trainer.untrained()
    robot = embody(SCENARIO, 1)
    home = robot.perceiver.features(robot.body.read(0))[np.newaxis]
    segments = trainer.play([Experience(home, (), {"lived": 1, "twin": 0}, 0)])
    features = np.concatenate([segment.features for segment in segments])
    keys = tuple(SegmentId(s.device, s.boot, s.seq) for s in segments)
    trainer.fit([Experience(features, keys, {"lived": 0, "twin": len(features)}, 0)])
    return trainer.judge(), trainer.conclude()


def test_one_serial_round_learns_some_of_the_real_task():
    verdict, record = one_round(
        LearnerConfig(
            hidden=(128, 128), steps_per_round=1000, twin_episodes=8, gate_episodes=3, gate_p=0.25
        )
    )
    assert verdict.incumbent == 0
    assert verdict.wins >= 2
    assert record.metrics["loss"] < 0.02


def test_serial_rounds_repeat_to_the_bit():
    """Parts that are soon judged do: to repeat, nothing need be learnt."""
    config = LearnerConfig(
        hidden=(32,), steps_per_round=50, twin_episodes=1, gate_episodes=2, gate_p=0.5
    )
    soon = structs.replace(SCENARIO, episode_s=1.0)
    assert one_round(config, soon) == one_round(config, soon)


def test_a_cancelled_backend_does_no_more_work():
    backend = SerialBackend(Hands(SPEC, LearnerConfig(), TWIN_OF))
    backend.cancel()
    with pytest.raises(Cancelled):
        backend.play([Play(UNTRAINED, 1, (1,))])
