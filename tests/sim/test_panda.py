"""The Panda: the numbers of its kinematics are the simulator's."""

import numpy as np
import pybullet
import pytest

from tierloop.sim.bodies.panda import WORK_HIGH_RAD, WORK_LOW_RAD, Panda, postures, tool_position
from tierloop.sim.scenario import Scenario, body_spec, policy_spec
from tierloop.sim.world import World

LIP_FROM_HAND_M = 0.120


@pytest.fixture(scope="module")
def arm():
    world = World(1 / 240)
    yield Panda(world, body_spec(Scenario())), world
    world.close()


def test_the_lip_is_where_the_simulators_hand_has_it(arm):
    panda, world = arm
    spec, rng = body_spec(Scenario()), np.random.default_rng(0)
    many = rng.uniform(spec.position_low_rad, spec.position_high_rad, (30, 7))
    batch = postures(many.T)
    for i, posture in enumerate(many):
        panda.place(posture)
        at, turn = world.link_pose("panda", panda.hand)
        axis = np.reshape(pybullet.getMatrixFromQuaternion(turn), (3, 3))[:, 2]
        lip = np.array(at) + LIP_FROM_HAND_M * axis
        assert np.abs(tool_position(posture) - lip).max() < 1e-6
        assert np.abs(batch.tool_m[:, i] - lip).max() < 1e-6
        assert np.abs(batch.axis[:, i] - axis).max() < 1e-6


def test_the_jacobian_is_how_tool_and_axis_move():
    spec, rng, step = body_spec(Scenario()), np.random.default_rng(1), 1e-6
    q = rng.uniform(spec.position_low_rad, spec.position_high_rad, (30, 7)).T
    at = postures(q)
    for joint in range(7):
        turned = step * np.eye(7)[:, joint : joint + 1]
        ahead, behind = postures(q + turned), postures(q - turned)
        tool = (ahead.tool_m - behind.tool_m) / (2 * step)
        sinking = (ahead.axis[2] - behind.axis[2]) / (2 * step)
        about_x, about_y = at.jacobian[:, 3:, joint].T
        np.testing.assert_allclose(at.jacobian[:, :3, joint].T, tool, atol=1e-8)
        np.testing.assert_allclose(about_x * at.axis[1] - about_y * at.axis[0], sinking, atol=1e-8)


def test_a_joint_never_turns_faster_than_its_limit(arm):
    panda, world = arm
    panda.place(np.array(WORK_LOW_RAD))
    panda.drive(np.array(WORK_HIGH_RAD))
    limit = np.array(body_spec(Scenario()).velocity_rad_s)
    for _ in range(60):
        panda.before_step(panda.sense().position)
        world.step()
        assert (np.abs(panda.sense().velocity) < 1.02 * limit).all()


def test_a_policy_may_ask_for_less_than_the_body_can():
    body, action = body_spec(Scenario()), policy_spec(Scenario()).action
    for joint in range(7):
        assert body.position_low_rad[joint] <= action.low[joint]
        assert action.high[joint] <= body.position_high_rad[joint]


def test_a_rate_is_kept_in_whole_physics_steps():
    spec = body_spec(Scenario(control_hz=120))
    assert spec.control_period_ns == 2 * spec.physics_period_ns
