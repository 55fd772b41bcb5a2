"""The network: what it computes, what it refuses, what survives encoding."""

from dataclasses import replace

import numpy as np
import pytest
from policy_samples import SPEC, make_features, make_spec

from tierloop.contract.errors import SpecError
from tierloop.policy.mlp import REACH, Mlp


def silent(mlp: Mlp) -> Mlp:
    """The same network with a last layer of zeros: only the base is left."""
    return replace(mlp, weights=(*mlp.weights[:-1], np.zeros_like(mlp.weights[-1])))


def test_computes_what_its_definition_says_element_by_element():
    mlp = Mlp.random(SPEC, (5, 4), seed=3)
    x = make_features(SPEC, 1, seed=4)[0].astype(np.float64)
    hidden = np.clip((x - mlp.mean) / mlp.std, -REACH, REACH)
    for weight, bias in zip(mlp.weights[:2], mlp.biases[:2], strict=True):
        hidden = np.maximum(hidden @ weight.astype(np.float64) + bias, 0)
    motion = (hidden @ mlp.weights[2].astype(np.float64) + mlp.biases[2]) * mlp.scale
    expected = motion.reshape(3, 3)
    expected[:, :2] += x[:2]
    expected = np.clip(expected, SPEC.action.low, SPEC.action.high)
    actual = mlp.forward(x.astype(np.float32)[None])[0]
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_a_silent_network_holds_the_joints_and_leaves_the_switch_off():
    mlp = silent(Mlp.random(SPEC, (8,), seed=0))
    x = make_features(SPEC, 4)
    actions = mlp.forward(x)
    for k in range(SPEC.horizon):
        np.testing.assert_array_equal(actions[:, k, :2], np.clip(x[:, :2], -2, 2))
        np.testing.assert_array_equal(actions[:, k, 2], 0)


def test_the_base_follows_labels_not_places():
    spec = make_spec()
    names = tuple(reversed(spec.observation.labels))
    low, high = tuple(reversed(spec.observation.low)), tuple(reversed(spec.observation.high))
    shuffled = type(spec.observation)(name="observation", labels=names, low=low, high=high)
    spec = type(spec)(
        task="sort", body="twin", observation=shuffled, action=spec.action, horizon=3, period_ns=1
    )
    x = make_features(spec, 2)
    actions = silent(Mlp.random(spec, (4,), seed=0)).forward(x)
    np.testing.assert_array_equal(actions[:, 0, :2], np.clip(x[:, [-1, -2]], -2, 2))


def test_a_feature_never_met_in_training_stays_bounded():
    mlp = Mlp.random(SPEC, (8,), seed=0)
    mlp = replace(mlp, std=mlp.std * np.float32([1, 1, 1, 1, 1, 0.05]))
    near, far, farther = (np.zeros((1, 6), np.float32) for _ in range(3))
    far[0, 5], farther[0, 5] = 1.0, 1e6
    np.testing.assert_array_equal(mlp.forward(far), mlp.forward(farther))
    assert np.abs(mlp.forward(far) - mlp.forward(near)).max() > 0.1
    assert np.abs(mlp.forward(far)[..., :2]).max() < 2, "not the limits but the reach is tested"


def test_random_is_repeatable_and_seeded():
    a, b, c = (Mlp.random(SPEC, (8,), seed=s).encode() for s in (1, 1, 2))
    assert a == b
    assert a != c


def test_encoding_keeps_every_bit():
    mlp = Mlp.random(SPEC, (7, 5), seed=9)
    again = Mlp.decode(mlp.encode(), SPEC)
    for field in ("mean", "std", "scale"):
        assert np.array_equal(getattr(mlp, field), getattr(again, field))
    x = make_features(SPEC, 3)
    assert np.array_equal(mlp.forward(x), again.forward(x))


def test_decoding_refuses_what_does_not_fit():
    data = Mlp.random(SPEC, (8,), seed=0).encode()
    with pytest.raises(SpecError, match=r"mlp.mean: expected float32\[7\], got float32\[6\]"):
        Mlp.decode(data, make_spec(features=7))
    with pytest.raises(SpecError, match=r"scale: expected float32\[12\], got float32\[9\]"):
        Mlp.decode(data, make_spec(horizon=4))
    for broken in (b"", data[:-1], data + b"x", b"\x93\x01\x02\x03"):
        with pytest.raises(SpecError, match="mlp"):
            Mlp.decode(broken, SPEC)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": np.zeros(5, np.float32)}, r"mean: expected float32\[6\], got float32\[5\]"),
        ({"std": np.zeros(6, np.float32)}, "positive"),
        ({"std": np.ones(6)}, r"std: expected float32\[6\], got float64\[6\]"),
        ({"scale": np.full(9, np.nan, np.float32)}, "scale: not finite"),
        ({"weights": ()}, "0 weights, 2 biases"),
        ({"biases": (np.zeros(3, np.float32),) * 2}, r"weights\[0\]: expected float32\[6, 3\]"),
    ],
)
def test_an_incoherent_network_cannot_be_made(change, message):
    with pytest.raises(SpecError, match=message):
        replace(Mlp.random(SPEC, (8,), seed=0), **change)
