"""The learner: imitates the teacher, in torch on one core; repeatable."""

from dataclasses import replace
from math import cos, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tierloop.cloud.config import LearnerConfig
from tierloop.cloud.plausible import within_limits
from tierloop.contract.errors import SpecError
from tierloop.contract.specs import FloatArray, PolicySpec, Vector
from tierloop.policy.mlp import REACH, Mlp

STD_FLOOR, SCALE_FLOOR = 1e-2, 1e-3
"""Least deviation of a feature, and least scale of a motion, as parts of the spec's range."""

WEIGHT_DECAY = 1.0
"""Decoupled decay: with the learning rate of 1e-3, a thousandth of each weight a step. A network
that goes on from the last round's weights otherwise clings to what it made of the first few
samples; on a piecewise-smooth task it halved the error on unseen states."""

SWITCH_WEIGHT = 4.0
"""Weight in the loss of an action without a base (a switch) against one joint."""


class Learner:
    """Fits one network, round after round; each round goes on from the weights of the last.

    The target is the motion label - base, in units of its own spread, so that every joint and
    every row of the chunk weighs the same. Each round takes normaliser and scale from its data
    anew and rewrites the outer layers so that the function stays what it was; AdamW starts afresh
    (keeping its moments learned no better). So the network is all the state there is: `from_mlp`
    goes on after a crash.

    `steps_done` counts gradient steps; `losses` has one entry a step. Same seed and same calls
    give the same bits. Sets torch to one thread.
    """

    def __init__(self, spec: PolicySpec, config: LearnerConfig, seed: int) -> None:
        torch.set_num_threads(1)
        self._config = config
        self._mlp = Mlp.random(spec, config.hidden, seed)
        self._fitted = False
        self._random = torch.Generator().manual_seed(seed)
        self.steps_done = 0
        self.losses: list[float] = []

    @staticmethod
    def from_mlp(mlp: Mlp, config: LearnerConfig, seed: int) -> "Learner":
        """A learner whose next round goes on from a released network, with that one's widths."""
        learner = Learner(mlp.spec, config, seed)
        learner._mlp, learner._fitted = mlp, True
        return learner

    def fit(self, features: FloatArray, labels: FloatArray) -> Mlp:
        """One round on float32[N, D] features and float32[N, H, A] labels. Raises SpecError.

        Rows beyond the spec are left out: a few would spoil the normaliser.
        """
        self._require(features, labels)
        seen = self._mlp.spec.observation
        if not (inside := within_limits(features, seen.low, seen.high)).all():
            features, labels = features[inside], labels[inside]
            self._require(features, labels)
        base = features @ self._mlp.skip
        motion = labels.reshape(len(labels), -1) - base
        start = self._start(features, motion)
        normalised = np.clip((features - start.mean) / start.std, -REACH, REACH)
        inputs, targets = torch.from_numpy(normalised), torch.from_numpy(motion / start.scale)
        self._mlp, self._fitted = self._descend(start, inputs, targets), True
        return self._mlp

    def _require(self, features: FloatArray, labels: FloatArray) -> None:
        spec = self._mlp.spec
        spec.observation.validate(features, len(features))
        shape = (len(features), spec.horizon, spec.action.size)
        if not len(features) or labels.shape != shape or labels.dtype != np.float32:
            raise SpecError(
                f"labels: expected float32{list(shape)} for at least one row, "
                f"got {labels.dtype}{list(labels.shape)}"
            )
        if not np.isfinite(labels).all():
            raise SpecError("labels: not finite")

    def _start(self, features: FloatArray, motion: FloatArray) -> Mlp:
        """The network with normaliser and scale of this data, computing what it did before."""
        spec = self._mlp.spec
        std_floor = STD_FLOOR * np.subtract(spec.observation.high, spec.observation.low)
        reach = SCALE_FLOOR * np.subtract(spec.action.high, spec.action.low)
        mean = features.mean(0, dtype=np.float64)
        std = np.maximum(features.std(0, dtype=np.float64), std_floor)
        spread = np.sqrt(np.square(motion, dtype=np.float64).mean(0))
        scale = np.maximum(spread, np.tile(reach, spec.horizon))
        if self._fitted:
            return rescale(self._mlp, mean, std, scale)
        return replace(
            self._mlp,
            mean=_single(mean),
            std=_single(std),
            scale=_single(scale),
            biases=(*self._mlp.biases[:-1], _single((motion / scale).mean(0))),
        )

    def _descend(self, start: Mlp, inputs: Tensor, targets: Tensor) -> Mlp:
        config, steps = self._config, self._config.steps_per_round
        weights = [torch.tensor(w, requires_grad=True) for w in start.weights]
        biases = [torch.tensor(b, requires_grad=True) for b in start.biases]
        importance = torch.from_numpy(_importance(start))
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": WEIGHT_DECAY},
            {"params": biases, "weight_decay": 0.0},
        ]
        adam = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
        for step in range(steps):
            for group in adam.param_groups:
                group["lr"] = config.learning_rate * _cosine(step / steps)
            pick = torch.randint(len(inputs), (config.batch_size,), generator=self._random)
            hidden = inputs[pick]
            for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                hidden = torch.relu(torch.addmm(bias, hidden, weight))
            answer = torch.addmm(biases[-1], hidden, weights[-1])
            error = nn.functional.huber_loss(answer, targets[pick], reduction="none")
            loss = (error * importance).mean()
            adam.zero_grad()
            torch.autograd.backward(loss)
            adam.step()
            self.losses.append(loss.item())
        self.steps_done += steps
        return replace(
            start,
            weights=tuple(w.detach().numpy() for w in weights),
            biases=tuple(b.detach().numpy() for b in biases),
        )


def rescale(mlp: Mlp, mean: Vector, std: Vector, scale: Vector) -> Mlp:
    """The same function with another normaliser and scale: outer layers make up for the change.

    `mean`, `std` float64[D], `scale` float64[H * A]. Equal up to rounding wherever the cut at
    REACH touches neither.
    """
    weights, biases = list(mlp.weights), list(mlp.biases)
    biases[0] = _single(biases[0] + (mean - mlp.mean) / mlp.std @ weights[0])
    weights[0] = _single(weights[0] * (std / mlp.std)[:, None])
    weights[-1] = _single(weights[-1] * (mlp.scale / scale))
    biases[-1] = _single(biases[-1] * (mlp.scale / scale))
    return Mlp(
        spec=mlp.spec,
        mean=_single(mean),
        std=_single(std),
        weights=tuple(weights),
        biases=tuple(biases),
        scale=_single(scale),
    )


def _single(value: Vector) -> FloatArray:
    single: FloatArray = value.astype(np.float32)
    return single


def _importance(mlp: Mlp) -> FloatArray:
    """Weight of each output in the loss, float32[H * A], 1 on average."""
    weight = np.where(mlp.skip.any(axis=0), 1.0, SWITCH_WEIGHT)
    return _single(weight / weight.mean())


def _cosine(progress: float) -> float:
    """From 1 to a tenth along half a cosine."""
    return 0.1 + 0.9 * (1 + cos(pi * progress)) / 2
