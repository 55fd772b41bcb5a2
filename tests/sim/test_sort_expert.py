"""The teacher: calm, smooth, without memory, and able to sort what a delay leaves it to see."""

import numpy as np
import pytest
from msgspec.structs import replace

from tierloop.sim.bodies.panda import HOME_RAD, body_spec, postures, tool_position
from tierloop.sim.embody import embody
from tierloop.sim.env import SortEnv
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.sim.tasks.sort import layout as lay
from tierloop.sim.tasks.sort.expert import Expert

SPEC = policy_spec(Scenario())
EXPERT = Expert(SPEC)
AT = {label: i for i, label in enumerate(SPEC.observation.labels)}


@pytest.fixture(scope="module")
def env():
    env = SortEnv()
    yield env
    env.close()


def lived(env: SortEnv, delay: int, seed: int) -> tuple[np.ndarray, bool]:
    """One part, each chunk acting `delay` periods late from the row that is then due.

    The rows after that one, which no other rests on, are not worked out.
    """
    expert = Expert(replace(SPEC, horizon=delay + 1))
    observation, _ = env.reset(seed=seed)
    seen, chunks, done, info = [], [], False, {}
    while not done:
        seen.append(observation)
        chunks.append(expert.label(observation[np.newaxis])[0])
        late = min(delay, len(chunks) - 1)
        observation, _, done, _, info = env.step(chunks[-1 - late][late])
    return np.stack(seen), info["success"]


@pytest.fixture(scope="module")
def features(env):
    return np.concatenate([lived(env, 0, seed)[0] for seed in range(6)])


def test_labels_fit_the_spec_and_depend_on_their_own_row_alone(features):
    labels = EXPERT.label(features)
    assert labels.dtype == np.float32
    assert labels.shape == (len(features), SPEC.horizon, SPEC.action.size)
    assert (labels >= np.float32(SPEC.action.low)).all()
    assert (labels <= np.float32(SPEC.action.high)).all()
    alone = np.concatenate([EXPERT.label(row[np.newaxis]) for row in features[::20]])
    assert np.allclose(labels[::20], alone, atol=1e-5)


def test_a_row_does_not_rest_on_how_many_follow(features):
    whole = EXPERT.label(features[::20])
    for horizon in (1, 2, 3):
        few = Expert(replace(SPEC, horizon=horizon)).label(features[::20])
        assert np.array_equal(few, whole[:, :horizon])


def test_no_row_asks_for_more_than_a_calm_speed(features):
    labels = EXPERT.label(features)[..., :-1].astype(np.float64)
    period_s = SPEC.period_ns * 1e-9
    speed = np.abs(np.diff(labels, axis=1)) / period_s
    assert (speed.max((0, 1)) < np.array(body_spec(1, 1).velocity_rad_s)).all()


def test_the_tool_points_down_at_work(features):
    rows = EXPERT.label(features[features[:, AT["holding"]] > 0.5])[:, -1, :-1]
    assert postures(rows.T.astype(np.float64)).axis[2].max() < -0.97


def test_near_states_have_near_labels(features):
    free = features[features[:, AT["holding"]] < 0.5]
    moved = free.copy()
    moved[:, AT["part_x_from_tool_m"]] += 1e-4
    change = np.abs(EXPERT.label(moved) - EXPERT.label(free))
    assert change[..., :-1].max() < 2e-3
    assert change.max() > 0


def at_rest(**features: float) -> np.ndarray:
    """An observation of the arm at home with no part about, but for what is given."""
    row = np.zeros((1, SPEC.observation.size), np.float32)
    row[0, :7] = HOME_RAD
    row[0, AT["tool_x_m"] : AT["tool_z_m"] + 1] = tool_position(np.array(HOME_RAD))
    for label, value in features.items():
        row[0, AT[label]] = value
    return row


def tool_after(row: np.ndarray) -> np.ndarray:
    return tool_position(EXPERT.label(row)[0, -1, :-1].astype(np.float64))


def test_it_carries_each_class_towards_its_own_bin():
    for kind, (x, y) in zip(lay.KINDS, lay.BINS_M, strict=True):
        row = at_rest(holding=1.0, part_height_m=0.03, **{f"is_{kind}": 1.0})
        away = np.subtract((x, y), tool_position(np.array(HOME_RAD))[:2])
        still = np.subtract((x, y), tool_after(row)[:2])
        assert np.hypot(*still) < 0.5 * np.hypot(*away)


def test_the_pump_runs_over_a_part_and_stops_over_a_bin():
    over = at_rest(part_known=1.0, part_z_from_tool_m=-0.01)
    assert EXPERT.label(over)[0, 0, -1] > 0.9
    assert EXPERT.label(at_rest(part_known=1.0, part_x_from_tool_m=0.2))[0, 0, -1] < 0.1
    assert EXPERT.label(at_rest(holding=1.0, is_box=1.0))[0, 0, -1] > 0.9
    row = at_rest(holding=1.0, is_cylinder=1.0)
    row[0, AT["tool_x_m"]] = lay.BINS_M[1][0]
    home = np.array(HOME_RAD)
    for _ in range(40):
        home = EXPERT.label(row)[0, 0, :-1].astype(np.float64)
        row[0, :7] = home
        row[0, AT["tool_x_m"] : AT["tool_z_m"] + 1] = tool_position(home)
    assert EXPERT.label(row)[0, 0, -1] < 0.1


def test_it_moves_on_with_the_belt():
    over = {"part_known": 1.0, "part_z_from_tool_m": -0.02}
    slow, fast = (tool_after(at_rest(belt_m_s=v, **over)) for v in (0.0, 0.1))
    assert fast[1] - slow[1] == pytest.approx(0.1 * 0.4, abs=0.015)


@pytest.mark.parametrize("delay", [1, 2])
def test_chunks_that_come_late_still_sort(env, delay):
    assert sum(lived(env, delay, seed)[1] for seed in range(10)) >= 9


def test_an_arm_gone_astray_goes_straight_home():
    """The tool tilted far: joint by joint, whatever part is about."""
    away = np.array((0.1, 0.0, 0.0, 0.7, 0.0, 0.55, 0.0))
    posture = np.array(HOME_RAD) + away
    row = at_rest(part_known=1.0, part_y_from_tool_m=0.2)
    row[0, :7] = posture
    row[0, AT["tool_x_m"] : AT["tool_z_m"] + 1] = tool_position(posture)
    moved = EXPERT.label(row)[0, 0, :-1] - row[0, :7]
    share = -np.linalg.norm(moved) / np.linalg.norm(away)
    assert share < -0.05
    assert np.allclose(moved, share * away, atol=1e-4)


def test_an_arm_gone_astray_comes_home_and_sorts():
    """From corners of what a policy may ask for, tool tilted or below the belt."""
    low, high = np.array(SPEC.action.low)[:-1], np.array(SPEC.action.high)[:-1]
    expert = Expert(replace(SPEC, horizon=1))
    for seed in range(2):
        robot = embody(Scenario(), seed)
        body, rng = robot.body, np.random.default_rng(seed)
        setpoint = body.hold()
        body.read(0)
        corner = np.append(np.where(rng.random(7) < 0.5, low, high), 0.0)
        judged, tick_ns = [], body.spec.control_period_ns
        for tick in range(1, 240 * 13):
            reading = body.read(tick * tick_ns)
            robot.perceiver.update(reading)
            judged += [e for e in reading.outcomes if tick > 240 * 4]
            if tick % 12 == 1:
                start = setpoint
                label = expert.label(robot.perceiver.features(reading)[np.newaxis])[0, 0]
                goal = corner if tick < 240 * 3 else label.astype(np.float64)
                goal = start + np.clip(goal - start, -0.1, 0.1)
                goal[-1] = label[-1]
            setpoint = start + (goal - start) * ((tick - 1) % 12 + 1) / 12
            body.write(setpoint)
        body.close()
        assert sum(e.success for e in judged) >= 2, (seed, judged)
