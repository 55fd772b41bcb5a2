"""The network of every policy here: a small multilayer perceptron, added to the joint positions."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import sqrt
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from tierloop.contract.errors import SpecError
from tierloop.contract.specs import ArraySpec, FloatArray, PolicySpec

REACH = 10.0
"""Normalised features are cut to this many deviations: one never met in training stays bounded."""

LAYERS_MAX, WIDTH_MAX = 16, 4096
"""Beyond these an edge has neither the time nor, for a full batch, the memory."""

BASE_MAX = 4_000_000
"""Inputs times outputs, which an artefact's graph holds as a matrix."""

_LITTLE = np.dtype("<f4")


class _Layer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Raw little-endian float32: `weight` row by row, one row an input; `bias` one an output."""

    weight: bytes
    bias: bytes


class _Stored(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    mean: bytes
    std: bytes
    scale: bytes
    layers: Annotated[tuple[_Layer, ...], Meta(max_length=LAYERS_MAX)]


@dataclass(frozen=True, eq=False)
class Mlp:
    """Features to setpoints: normalise, relu layers, times `scale`, plus the base, clip.

    The base of an action is the observed value whose label it shares (joint positions), so the
    network answers with the motion to make; an action without one (a switch) has base 0.
    `mean`, `std` float32[D]; `weights` float32[in, out] and `biases` float32[out], one a layer;
    `scale` float32[H * A], row-major over the chunk. Raises SpecError if they do not fit `spec`.
    """

    spec: PolicySpec
    mean: FloatArray
    std: FloatArray
    weights: tuple[FloatArray, ...]
    biases: tuple[FloatArray, ...]
    scale: FloatArray

    def __post_init__(self) -> None:
        inputs, outputs = self.spec.observation.size, self.spec.horizon * self.spec.action.size
        if inputs * outputs > BASE_MAX:
            raise SpecError(f"mlp: {inputs} inputs by {outputs} outputs, at most {BASE_MAX} in all")
        _fit("mean", self.mean, inputs)
        _fit("std", self.std, inputs)
        _fit("scale", self.scale, outputs)
        if not self.weights or len(self.weights) != len(self.biases):
            raise SpecError(f"mlp: {len(self.weights)} weights, {len(self.biases)} biases")
        if len(self.weights) > LAYERS_MAX or max(map(len, self.biases[:-1]), default=0) > WIDTH_MAX:
            raise SpecError(f"mlp: at most {LAYERS_MAX} layers, at most {WIDTH_MAX} wide inside")
        width = inputs
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            following = outputs if i == len(self.weights) - 1 else len(bias)
            _fit(f"weights[{i}]", weight, width, following)
            _fit(f"biases[{i}]", bias, following)
            width = following
        if not (self.std > 0).all() or not (self.scale > 0).all():
            raise SpecError("mlp: std and scale must be positive")

    @staticmethod
    def random(spec: PolicySpec, hidden: tuple[int, ...], seed: int) -> "Mlp":
        """An untrained network: He initialisation, weak last layer, normaliser of the spec."""
        rng = np.random.default_rng(seed)
        sizes = (spec.observation.size, *hidden, spec.horizon * spec.action.size)
        gains = [sqrt(2 / n) for n in sizes[:-2]] + [0.1 * sqrt(1 / sizes[-2])]
        weights = tuple(
            (rng.standard_normal(pair) * gain).astype(np.float32)
            for pair, gain in zip(pairwise(sizes), gains, strict=True)
        )
        low, high = _box(spec.observation)
        action_low, action_high = _box(spec.action)
        return Mlp(
            spec=spec,
            mean=(low + high) * np.float32(0.5),
            std=(high - low) / np.float32(sqrt(12)),
            weights=weights,
            biases=tuple(np.zeros(n, np.float32) for n in sizes[1:]),
            scale=np.tile((action_high - action_low) * np.float32(0.5), spec.horizon),
        )

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return tuple(len(bias) for bias in self.biases[:-1])

    @cached_property
    def skip(self) -> FloatArray:
        """The base as a matrix float32[D, H * A]: 1 where the labels agree, else 0."""
        rows, columns = self.spec.observation.labels, self.spec.action.labels
        same = np.array([[a == b for b in columns] for a in rows], np.float32)
        return np.tile(same, self.spec.horizon)

    @cached_property
    def limits(self) -> tuple[FloatArray, FloatArray]:
        """The action spec's low and high, float32[A]."""
        return _box(self.spec.action)

    def forward(self, features: FloatArray) -> FloatArray:
        """float32[B, D] to float32[B, H, A]. What is not finite in a row makes that row NaN."""
        low, high = self.limits
        with np.errstate(invalid="ignore", over="ignore"):
            hidden = np.clip((features - self.mean) / self.std, -REACH, REACH)
            for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
                hidden = np.maximum(hidden @ weight + bias, 0)
            motion = (hidden @ self.weights[-1] + self.biases[-1]) * self.scale
            actions = motion + features @ self.skip
        chunk = actions.reshape(len(features), self.spec.horizon, self.spec.action.size)
        clipped: FloatArray = np.minimum(np.maximum(chunk, low), high)
        return clipped

    @cached_property
    def reach(self) -> float:
        """What no value inside exceeds, whatever finite observation is answered.

        Where that is a float32, sums in any order stay numbers, and so do all answers.
        """
        most, widest = np.full(len(self.mean), REACH), 0.0
        scales = [1.0] * (len(self.weights) - 1) + [np.maximum(self.scale, 1.0)]
        with np.errstate(over="ignore"):
            for weight, bias, scale in zip(self.weights, self.biases, scales, strict=True):
                most = (most @ np.abs(weight, dtype=np.float64) + np.abs(bias)) * scale
                widest = max(widest, float(most.max(initial=0.0)))
        return widest

    def encode(self) -> bytes:
        """The numbers without the spec, as MessagePack around raw float32."""
        layers = tuple(
            _Layer(_raw(w), _raw(b)) for w, b in zip(self.weights, self.biases, strict=True)
        )
        stored = _Stored(_raw(self.mean), _raw(self.std), _raw(self.scale), layers)
        return msgspec.msgpack.encode(stored)

    @staticmethod
    def decode(data: bytes, spec: PolicySpec) -> "Mlp":
        """The network in `data`. Raises SpecError unless it is one that fits `spec`."""
        try:
            stored = msgspec.msgpack.decode(data, type=_Stored)
            biases = tuple(_array(layer.bias) for layer in stored.layers)
            weights = tuple(
                _array(layer.weight).reshape(-1, max(len(bias), 1))
                for layer, bias in zip(stored.layers, biases, strict=True)
            )
            mean, std, scale = _array(stored.mean), _array(stored.std), _array(stored.scale)
        except (msgspec.MsgspecError, ValueError) as error:
            raise SpecError(f"mlp: {error}") from None
        return Mlp(spec, mean, std, weights, biases, scale)


def _box(spec: ArraySpec) -> tuple[FloatArray, FloatArray]:
    return np.array(spec.low, np.float32), np.array(spec.high, np.float32)


def _raw(value: FloatArray) -> bytes:
    return np.ascontiguousarray(value, _LITTLE).tobytes()


def _array(data: bytes) -> FloatArray:
    return np.frombuffer(data, _LITTLE)


def _fit(name: str, value: FloatArray, *shape: int) -> None:
    if value.shape != shape or value.dtype != np.float32:
        raise SpecError(
            f"mlp.{name}: expected float32{list(shape)}, got {value.dtype}{list(value.shape)}"
        )
    if not np.isfinite(value).all():
        raise SpecError(f"mlp.{name}: not finite")
