"""The sorting cell: a body that keeps its contract, a world that repeats itself, a judge."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from msgspec.structs import replace

from tierloop.contract.clock import NS_PER_S
from tierloop.contract.suite import BodySuite
from tierloop.sim.bodies.panda import HOME_RAD, JOINTS, Panda, postures, tool_position
from tierloop.sim.cell import Cell
from tierloop.sim.embody import embody
from tierloop.sim.env import SortEnv
from tierloop.sim.scenario import Scenario, body_spec, policy_spec
from tierloop.sim.tasks.sort.expert import Expert
from tierloop.sim.world import World


class TestCell(BodySuite):
    def make(self) -> Cell:
        return Cell(Scenario(), seed=1)


def test_kinematics_agree_with_the_simulator():
    world = World(1 / 240)
    arm = Panda(world, body_spec(Scenario()))
    rng = np.random.default_rng(0)
    spec = body_spec(Scenario())
    for _ in range(20):
        posture = rng.uniform(spec.position_low_rad, spec.position_high_rad)
        arm.place(posture)
        at, turn = world.link_pose("panda", 6)
        x, y, z, w = turn
        axis = np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
        one = postures(posture[:, np.newaxis])
        lip = tool_position(posture)
        assert np.allclose(one.tool_m[:, 0], lip, atol=1e-9)
        assert np.allclose(one.axis[:, 0], axis, atol=1e-6)
        assert np.allclose(lip - np.array(at), axis * np.linalg.norm(lip - np.array(at)), atol=1e-5)
    world.close()


def test_the_jacobian_is_the_derivative():
    rng = np.random.default_rng(1)
    posture = np.array(HOME_RAD) + rng.uniform(-0.3, 0.3, 7)
    jacobian = postures(posture[:, np.newaxis]).jacobian[0]
    for joint in range(len(JOINTS)):
        step = np.zeros(7)
        step[joint] = 1e-6
        change = (tool_position(posture + step) - tool_position(posture - step)) / 2e-6
        assert np.allclose(jacobian[:3, joint], change, atol=1e-6)


def test_the_environment_keeps_gymnasiums_contract(recwarn):
    env = SortEnv()
    check_env(env, skip_render_check=True)
    # Actions are joint positions in rad, on purpose: the one piece of advice is not taken.
    others = [w for w in recwarn.list if "symmetric and normalized" not in str(w.message)]
    assert others == []
    env.close()


@pytest.mark.filterwarnings("ignore:.*symmetric and normalized")
def test_gymnasium_makes_it_by_name():
    env = gymnasium.make("tierloop.sim.env:tierloop/SortPanda-v0")
    assert isinstance(env.unwrapped, SortEnv)
    observation, _ = env.reset(seed=3)
    plain = SortEnv()
    np.testing.assert_array_equal(observation, plain.reset(seed=3)[0])
    check_env(env.unwrapped, skip_render_check=True)
    env.close()
    plain.close()


def first_row_expert() -> Expert:
    """Of its rows only the first is played here, which does not rest on how many follow."""
    return Expert(replace(policy_spec(Scenario()), horizon=1))


def play(env: SortEnv, seed: int, act) -> tuple[list, dict]:
    observation, info = env.reset(seed=seed)
    seen, done = [observation], False
    while not done:
        observation, _, terminated, truncated, info = env.step(act(observation))
        seen.append(observation)
        done = terminated or truncated
    return seen, info


def test_same_seed_same_bits_another_seed_others():
    expert = first_row_expert()
    one, two = SortEnv(), SortEnv()

    def act(observation):
        return expert.label(observation[np.newaxis])[0, 0]

    first, _ = play(one, 5, act)
    play(one, 6, act)
    again, _ = play(one, 5, act)
    elsewhere, _ = play(two, 5, act)
    other, _ = play(two, 7, act)
    assert np.array_equal(np.stack(first), np.stack(again))
    assert np.array_equal(np.stack(first), np.stack(elsewhere))
    assert not np.array_equal(first[5], other[5])
    one.close()
    two.close()


@pytest.mark.parametrize("episodes", [8, pytest.param(30, marks=pytest.mark.slow)])
@pytest.mark.parametrize("late", [0, 6])
def test_the_teacher_sorts_nearly_everything_and_stale_action_costs(late, episodes):
    """97 parts in 100 at once; 300 ms late, without anchoring, well under half of that."""
    expert, env = first_row_expert(), SortEnv()
    won = 0
    for seed in range(episodes):
        rows: list = []

        def act(observation, rows=rows):
            rows.append(expert.label(observation[np.newaxis])[0, 0])
            return rows[max(0, len(rows) - 1 - late)]

        won += play(env, seed, act)[1]["success"]
    env.close()
    assert won >= episodes - 1 if late == 0 else won <= episodes / 2


def test_an_arm_that_stands_still_fails_and_the_belt_goes_on():
    robot = embody(Scenario(), seed=2)
    robot.body.read(0)
    robot.body.write(robot.body.hold())
    outcomes = robot.body.read(40 * NS_PER_S).outcomes
    assert len(outcomes) >= 3
    assert not any(o.success for o in outcomes)
    assert [o.number for o in outcomes] == list(range(1, len(outcomes) + 1))
    robot.body.close()


def test_features_fit_the_spec():
    robot = embody(Scenario(), seed=3)
    for tick in range(0, 480, 12):
        reading = robot.body.read(tick * NS_PER_S // 240)
        robot.perceiver.update(reading)
        robot.policy.observation.validate(robot.perceiver.features(reading))
    robot.body.close()


def test_several_worlds_live_in_one_process():
    a, b = (Cell(Scenario(), seed=1) for _ in range(2))
    for cell in (a, b):
        cell.read(0)
    moved = a.hold()
    moved[0] += 0.3
    a.write(moved)
    for cell in (a, b):
        cell.read(NS_PER_S)
    assert abs(a.hold()[0] - b.hold()[0]) > 0.2
    a.close()
    b.close()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"control_hz": 100}, "control_hz 100 does not divide physics_hz 240"),
        ({"scan_hz": -1.0}, "scan_hz must be positive"),
        ({"task": "short"}, "unknown task 'short'; choose one of: sort"),
        ({"body": "pander"}, "unknown body 'pander'; choose one of: panda"),
        ({"robots": ()}, "at least one robot"),
        ({"robots": ("a", "a")}, "'a' is listed twice"),
        ({"scan_dropout": 1.0}, "scan_dropout must lie in"),
        ({"belt_low_m_s": 1.0}, "is above belt_high_m_s"),
        ({"belt_swing": 1.0}, "belt_swing must lie in"),
        ({"belt_swing_s": 0.0}, "belt_swing_s must be positive"),
        ({"scan_noise_m": -0.1}, "scan_noise_m must not be negative"),
    ],
)
def test_a_scenario_is_checked_in_one_line(keys, words):
    with pytest.raises(ValueError, match=words):
        Scenario(**keys)


def test_nothing_of_the_engine_reaches_the_terminal():
    code = (
        "from tierloop.sim.cell import Cell; from tierloop.sim.scenario import Scenario; "
        "Cell(Scenario(), 1).close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert done.stdout == done.stderr == b""


def test_the_physics_is_loaded_when_an_environment_is_made_not_before():
    code = "import sys, tierloop.sim.env; sys.exit('pybullet' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
