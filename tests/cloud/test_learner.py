"""The learner: it learns, it repeats itself to the bit, it goes on from where it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tierloop.cloud import learner as module
from tierloop.cloud.config import LearnerConfig
from tierloop.cloud.learner import Learner, rescale
from tierloop.contract.errors import SpecError
from tierloop.contract.specs import ArraySpec, FloatArray, PolicySpec
from tierloop.policy.mlp import Mlp

JOINTS = ("joint_1_rad", "joint_2_rad")
SPEC = PolicySpec(
    task="sort",
    body="twin",
    observation=ArraySpec(
        name="observation",
        labels=(*JOINTS, "part_x_m", "part_y_m", "class", "unused"),
        low=(-3.0, -3.0, -1.0, -1.0, -1.0, -100.0),
        high=(3.0, 3.0, 1.0, 1.0, 1.0, 100.0),
    ),
    action=ArraySpec(
        name="action", labels=(*JOINTS, "suction"), low=(-3.0, -3.0, 0.0), high=(3.0, 3.0, 1.0)
    ),
    horizon=4,
    period_ns=50_000_000,
)
CONFIG = LearnerConfig(hidden=(48, 48), steps_per_round=400, batch_size=128)


def states(rows: int, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    return np.stack([SPEC.observation.sample(rng) for _ in range(rows)])


def teach(features: FloatArray) -> FloatArray:
    """Piecewise smooth: by class the joints make for one goal or another; suction when close."""
    goal = np.where(features[:, 4:5] > 0, np.sin(2 * features[:, 2:4]), -features[:, 2:4])
    now, rows = features[:, :2], []
    for _ in range(SPEC.horizon):
        now = now + np.clip(goal - now, -0.1, 0.1)
        rows.append(np.concatenate([now, features[:, 2:3] > 0], axis=1))
    return np.stack(rows, axis=1).clip(SPEC.action.low, SPEC.action.high).astype(np.float32)


def error(mlp: Mlp, features: FloatArray) -> tuple[float, float]:
    """Mean error of the joints in rad, share of wrong switches."""
    answer, label = mlp.forward(features), teach(features)
    joints = np.abs(answer - label)[..., :2].mean()
    return float(joints), float(((answer > 0.5) != (label > 0.5))[..., 2].mean())


@pytest.fixture(scope="module")
def data() -> tuple[FloatArray, FloatArray]:
    features = states(3000, seed=1)
    return features, teach(features)


def test_learns_what_the_teacher_does_on_states_it_never_saw(data):
    learner = Learner(SPEC, CONFIG, seed=0)
    mlp = learner.fit(*data)
    unseen = states(1000, seed=2)
    still = error(replace(mlp, weights=tuple(np.zeros_like(w) for w in mlp.weights)), unseen)
    joints, switch = error(mlp, unseen)
    assert joints < 0.45 * still[0]
    assert switch < 0.04
    assert learner.steps_done == len(learner.losses) == 400
    assert np.mean(learner.losses[-20:]) < 0.3 * np.mean(learner.losses[:20])


def test_same_seed_same_data_same_bits_whatever_else_draws_numbers(data):
    first = Learner(SPEC, CONFIG, seed=5)
    one = first.fit(*data)
    torch.manual_seed(99)
    torch.rand(3)
    second = Learner(SPEC, CONFIG, seed=5)
    assert second.fit(*data).encode() == one.encode()
    assert second.losses == first.losses
    assert second.fit(*data).encode() == first.fit(*data).encode()
    assert Learner(SPEC, CONFIG, seed=6).fit(*data).encode() != one.encode()
    assert torch.get_num_threads() == 1


def test_a_round_goes_on_from_the_last(data):
    learner = Learner(SPEC, CONFIG, seed=0)
    learner.fit(*data)
    reached = learner.losses[-1]
    more = states(500, seed=3)
    features = np.concatenate([data[0], more])
    learner.fit(features, teach(features))
    assert learner.steps_done == 800
    assert learner.losses[400] < 2 * reached
    assert learner.losses[400] < 0.35 * learner.losses[0]


def test_a_released_network_is_enough_to_go_on(data):
    released = Mlp.decode(Learner(SPEC, CONFIG, seed=0).fit(*data).encode(), SPEC)
    heirs = [Learner.from_mlp(released, CONFIG, seed=1) for _ in range(2)]
    one, two = (heir.fit(*data) for heir in heirs)
    assert one.encode() == two.encode()
    assert heirs[0].losses[0] < 0.12
    assert error(one, data[0])[0] <= error(released, data[0])[0]


def test_a_round_does_not_change_a_network_that_was_handed_out(data):
    learner = Learner(SPEC, CONFIG, seed=0)
    first = learner.fit(*data)
    bits = first.encode()
    learner.fit(*data)
    assert first.encode() == bits


def test_another_normaliser_and_scale_leave_the_function_as_it_was(data):
    mlp = Learner(SPEC, CONFIG, seed=0).fit(*data)
    rng = np.random.default_rng(0)
    changed = rescale(
        mlp,
        mlp.mean + 0.3 * mlp.std * rng.standard_normal(6),
        mlp.std * rng.uniform(0.7, 3.0, 6),
        mlp.scale * rng.uniform(0.2, 5.0, 12),
    )
    assert not np.allclose(changed.weights[0], mlp.weights[0])
    np.testing.assert_allclose(changed.forward(data[0]), mlp.forward(data[0]), atol=1e-5)


def test_a_round_on_quite_other_data_starts_from_what_was_learned(data):
    first = Learner(SPEC, CONFIG, seed=0).fit(*data)
    features = data[0][(data[0][:, 2] > 0.5) & (data[0][:, 0] < 0)]
    features[:, 5] = 0
    slow = LearnerConfig(hidden=(48, 48), steps_per_round=1, learning_rate=1e-7)
    second = Learner.from_mlp(first, slow, seed=0).fit(features, teach(features))
    assert abs(second.mean[2] - first.mean[2]) > 0.5
    assert np.abs(second.forward(features) - first.forward(features)).max() < 1e-4


def test_old_samples_do_not_hold_back_later_rounds(data, monkeypatch):
    """Weight decay against none, warm from a first round on few samples of a narrow region."""

    def late_error(decay: float) -> float:
        monkeypatch.setattr(module, "WEIGHT_DECAY", decay)
        learner = Learner(SPEC, CONFIG, seed=0)
        few = states(120, seed=4)
        for _ in range(3):
            learner.fit(few, teach(few))
        return error(learner.fit(data[0][:400], data[1][:400]), states(2000, seed=5))[0]

    assert late_error(module.WEIGHT_DECAY) < 0.95 * late_error(0.0)


def test_constant_features_and_labels_are_no_trouble():
    features = np.zeros((50, 6), np.float32)
    labels = np.zeros((50, 4, 3), np.float32)
    labels[..., 2] = 1
    mlp = Learner(SPEC, CONFIG, seed=0).fit(features, labels)
    np.testing.assert_allclose(mlp.scale.reshape(4, 3), [[0.006, 0.006, 1]] * 4, rtol=1e-6)
    np.testing.assert_allclose(mlp.forward(features), labels, atol=0.02)
    far = mlp.forward(states(50, seed=0))
    assert np.isfinite(far).all()


def test_one_sample_is_enough_for_a_round():
    features = states(1, seed=0)
    Learner(SPEC, brief(3), seed=0).fit(features, teach(features))


def brief(steps: int) -> LearnerConfig:
    return LearnerConfig(hidden=(8,), steps_per_round=steps)


def test_data_that_do_not_fit_are_named():
    learner = Learner(SPEC, brief(1), seed=0)
    x = states(5, seed=0)
    y = teach(x)
    with pytest.raises(
        SpecError, match=r"observation: expected float32\[5, 6\], got float32\[5, 5\]"
    ):
        learner.fit(x[:, :5], y)
    with pytest.raises(
        SpecError, match=r"labels: expected float32\[5, 4, 3\].* got float32\[4, 4, 3\]"
    ):
        learner.fit(x, y[:4])
    with pytest.raises(SpecError, match=r"at least one row"):
        learner.fit(x[:0], y[:0])
    y[0, 0, 0] = np.nan
    with pytest.raises(SpecError, match="labels: not finite"):
        learner.fit(x, y)


def test_rows_beyond_the_spec_change_nothing():
    """Half of the data are where no sensor can be; the student is that of the other half, near."""
    rng = np.random.default_rng(1)
    low, high = np.array(SPEC.observation.low), np.array(SPEC.observation.high)
    good = rng.uniform(low, high, (200, 6)).astype(np.float32)
    far = (good + 9.9 * (high - low)).astype(np.float32)
    config = LearnerConfig(hidden=(8,), steps_per_round=5)

    def student(features):
        labels = np.zeros((len(features), SPEC.horizon, SPEC.action.size), np.float32)
        return Learner(SPEC, config, 1).fit(features, labels).encode()

    assert student(np.concatenate([good, far])) == student(good)
