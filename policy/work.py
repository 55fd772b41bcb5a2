"""How much computing a network asks for, by the graph that form.py writes of it."""

from itertools import pairwise

from tierloop.contract.policy import Work
from tierloop.contract.specs import PolicySpec

FLOAT_BYTES = 4


def work(spec: PolicySpec, hidden: tuple[int, ...]) -> Work:
    """The work of a network with these hidden layers.

    Counts the matrix products, the base's included: two operations a weight and observation. What
    is done once a number (normalise, relu, clip) is left out. Bytes are those of all matrices and
    biases.
    """
    inputs, outputs = spec.observation.size, spec.horizon * spec.action.size
    widths = (inputs, *hidden, outputs)
    weights = sum(one * following for one, following in pairwise(widths)) + inputs * outputs
    return Work(ops=2 * weights, weight_bytes=FLOAT_BYTES * (weights + sum(widths[1:])))
