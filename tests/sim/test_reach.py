"""The reach task: its judge, its scans and its expert, joined with the plant."""

import numpy as np
import pytest

from tierloop.contract.body import Embodiment
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.suite import BodySuite
from tierloop.sim.analytic_cell import AnalyticCell
from tierloop.sim.embody import Stage, embody
from tierloop.sim.scenario import Scenario, body_spec, policy_spec
from tierloop.sim.tasks.reach import label

SCENARIO = Scenario(task="reach", body="plant", episode_s=2.0)
SPEC = policy_spec(SCENARIO)
TICK_NS = body_spec(SCENARIO).control_period_ns


class TestAnalyticCell(BodySuite):
    def make(self) -> AnalyticCell:
        return AnalyticCell(SCENARIO, seed=3)


def live(robot: Embodiment, seconds: float, acts: bool = True) -> list:
    outcomes = []
    for tick in range(round(seconds * NS_PER_S / TICK_NS)):
        reading = robot.body.read(tick * TICK_NS)
        outcomes += reading.outcomes
        robot.perceiver.update(reading)
        if acts and tick % 12 == 0:
            rows = robot.perceiver.features(reading)[np.newaxis]
            robot.body.write(label(SPEC, rows)[0, 0].astype(float))
    return outcomes


def test_the_expert_reaches_every_goal_and_one_who_rests_none():
    reached = live(embody(SCENARIO, 5), 30.0)
    assert len(reached) > 15
    assert all(episode.success for episode in reached)
    late = live(embody(SCENARIO, 5), 30.0, acts=False)
    assert {episode.reason for episode in late} == {"late"}
    assert [e.ended_ns - e.started_ns >= 2 * NS_PER_S for e in late] == [True] * len(late)


def test_a_seed_tells_goals_and_scans():
    a, b, c = (live(embody(SCENARIO, seed), 10.0) for seed in (1, 1, 2))
    assert a == b
    assert a != c


def test_a_stage_that_begins_anew_is_a_cell_of_that_seed():
    stage = Stage(SCENARIO)
    live(stage.begin(1), 5.0)
    assert live(stage.begin(2), 5.0) == live(embody(SCENARIO, 2), 5.0)
    posture = np.array([0.5, -0.25], np.float32)
    np.testing.assert_array_equal(stage.begin(2, posture).body.hold()[:-1], posture)


def test_a_task_takes_its_own_body_only():
    with pytest.raises(ValueError, match="task 'reach' needs the body 'plant'"):
        Scenario(task="reach")
