"""Tests that every policy must pass: inherit from the class and give a factory.

class TestMine(PolicySuite):
    def make(self) -> Policy: ...
"""

from typing import Any

import numpy as np
import pytest

from tierloop.contract.errors import SpecError
from tierloop.contract.policy import Policy
from tierloop.contract.specs import FloatArray


class PolicySuite:
    """Conformance of a contract `Policy`; a test runner collects the inheriting class."""

    def make(self) -> Policy:
        """A fresh policy to test."""
        raise NotImplementedError

    def features(self, policy: Policy, rows: int, seed: int = 0) -> FloatArray:
        """Observations within the spec, float32[rows, D]."""
        rng = np.random.default_rng(seed)
        return np.stack([policy.spec.observation.sample(rng) for _ in range(rows)])

    def test_says_what_it_is(self) -> None:
        policy = self.make()
        assert policy.version >= 0
        assert policy.spec.digest

    def test_answers_each_row_with_a_chunk(self) -> None:
        policy = self.make()
        spec = policy.spec
        for rows in (1, 2, 7, 64):
            actions = policy.act(self.features(policy, rows))
            assert actions.shape == (rows, spec.horizon, spec.action.size)
            assert actions.dtype == np.float32
            assert actions.flags.c_contiguous

    def test_stays_within_the_limits_far_outside_the_observation_spec(self) -> None:
        policy = self.make()
        low = np.array(policy.spec.action.low, np.float32)
        high = np.array(policy.spec.action.high, np.float32)
        for factor in (1, 1e3, 1e6):
            actions = policy.act(self.features(policy, 64) * np.float32(factor))
            assert ((actions >= low) & (actions <= high)).all()

    def test_is_a_function_of_the_features(self) -> None:
        policy = self.make()
        features = self.features(policy, 5)
        untouched = features.copy()
        first = policy.act(features)
        kept = first.copy()
        policy.act(self.features(policy, 5, seed=1))
        assert np.array_equal(features, untouched)
        assert np.array_equal(first, kept), "an answer was overwritten by the next call"
        assert np.array_equal(policy.act(features), kept)

    def test_answers_a_row_whatever_its_company(self) -> None:
        policy = self.make()
        features = self.features(policy, 9)
        together = policy.act(features)
        for row, answer in zip(features, together, strict=True):
            np.testing.assert_allclose(policy.act(row[None])[0], answer, rtol=1e-5, atol=1e-5)

    def test_never_makes_an_action_of_what_is_not_finite(self) -> None:
        policy = self.make()
        good = policy.act(self.features(policy, 2))
        for bad in (np.nan, np.inf, -np.inf):
            for column in range(policy.spec.observation.size):
                features = self.features(policy, 2)
                features[0, column] = bad
                actions = policy.act(features)
                assert np.isnan(actions[0]).any(), f"column {column} as {bad}"
                np.testing.assert_allclose(actions[1], good[1], rtol=1e-5, atol=1e-5)

    def test_names_both_shapes_of_a_misfit(self) -> None:
        policy = self.make()
        size = policy.spec.observation.size
        good = self.features(policy, 2)
        double: Any = good.astype(np.float64)
        for wrong in (good[0], good[:, :-1], good[None], double):
            with pytest.raises(SpecError) as caught:
                policy.act(wrong)
            assert str(size) in str(caught.value)
            assert f"{wrong.dtype}{list(wrong.shape)}" in str(caught.value)
