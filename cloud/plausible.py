"""Checks whether a device can have sent a segment; what is impossible is not trained on."""

from collections.abc import Sequence

import numpy as np

from tierloop.contract.bounds import STAMP_MAX
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.messages import Segment
from tierloop.contract.specs import FloatArray, PolicySpec

SPAN_SLACK = 0.02
"""So many times its span may a value lie beyond its limits: rounding, and a sensor at its stop. The
perceive stages clip to the limits. Of rows a tenth of a span beyond, a share of 10 % made a student
2.5 times worse on honest states, a whole span 7 times, and where nothing was beyond 1.7 times."""

AGE_MAX_NS = 60 * NS_PER_S
"""No action is in force for longer: its validity is some decision periods."""


def implausible(segment: Segment, spec: PolicySpec) -> str:
    """Why no body of this spec can have sent this, as a word for a counter; "" if it can."""
    stamps, ages = segment.captured_ns, segment.age_ns
    if len(stamps) and not (stamps[0] >= 0 and stamps[-1] < STAMP_MAX and _ascends(stamps)):
        return "stamps"
    if ((ages < -1) | (ages > AGE_MAX_NS)).any() or (segment.versions < -1).any():
        return "stamps"
    far = not within_limits(segment.features, spec.observation.low, spec.observation.high).all()
    return "absurd" if far or not within_limits(segment.applied, *_reach(spec)).all() else ""


def within_limits(values: FloatArray, low: Sequence[float], high: Sequence[float]) -> np.ndarray:
    """Which rows of float32[N, D] lie within their limits, or hardly beyond: bool[N]."""
    least, most = np.array(low), np.array(high)
    room = SPAN_SLACK * (most - least)
    inside: np.ndarray = ((values >= least - room) & (values <= most + room)).all(axis=1)
    return inside


def _ascends(stamps: np.ndarray) -> bool:
    """Equal ones are those of a sensor that has fallen silent."""
    return bool((stamps[1:] >= stamps[:-1]).all())


def _reach(spec: PolicySpec) -> tuple[list[float], list[float]]:
    """What may be applied: a joint may be held wherever it can be seen."""
    seen, asked = spec.observation, spec.action
    at = {label: i for i, label in enumerate(seen.labels)}
    low, high = list(asked.low), list(asked.high)
    for i, label in enumerate(asked.labels):
        if label in at:
            low[i] = min(low[i], seen.low[at[label]])
            high[i] = max(high[i], seen.high[at[label]])
    return low, high
