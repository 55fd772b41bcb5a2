"""Reads training data from the store."""

from collections import Counter
from functools import cache
from typing import NamedTuple

import numpy as np

from tierloop.cloud.ingest import Misfitting, open_body
from tierloop.cloud.store import Store
from tierloop.cloud.testimony import Heard, Witness
from tierloop.contract.codec import Codec
from tierloop.contract.messages import Segment, SegmentId
from tierloop.contract.specs import FloatArray, PolicySpec


class Experience(NamedTuple):
    """Observations float32[N, D] of the segments `keys`; `samples` counts rows by source.

    `owners` are the robots and the number of rows of each, in the order of `features`; "" stands
    for the twin. `outcomes` are those of the robots that are believed, `refused` counts the others
    by robot and reason; `last` is the store's row to go on from.
    """

    features: FloatArray
    keys: tuple[SegmentId, ...]
    samples: dict[str, int]
    last: int
    outcomes: tuple[Heard, ...] = ()
    owners: tuple[tuple[str, int], ...] = ()
    refused: Counter[tuple[str, str]] = Counter()  # noqa: RUF012


class _Read(NamedTuple):
    key: SegmentId
    source: str
    segment: Segment


def read(
    store: Store, spec: PolicySpec, after: int, testimony: Witness | None = None
) -> Experience:
    """What was stored behind row `after`, for a policy of this spec; other specs are left out.

    So is what can no longer be opened: its bytes have gone bad on the disk. Raises sqlite3.Error;
    then the testimony is as it was.
    """
    testimony = testimony or Witness()
    found, last = _open(store, spec, after)
    acted = cache(store.policies.acted)
    for key, _, segment in found:
        for outcome in segment.outcomes:
            acted(outcome.policy_version, key)
    features = [np.empty((0, spec.observation.size), np.float32)]
    samples, outcomes, owners = {"lived": 0, "twin": 0}, list[Heard](), list[tuple[str, int]]()
    refused: Counter[tuple[str, str]] = Counter()
    for key, source, segment in found:
        features.append(segment.features)
        samples[source] += len(segment.features)
        owners.append((key.device if source == "lived" else "", len(segment.features)))
        if source == "lived":
            believed, others = testimony.hear(key, segment, acted)
            outcomes += believed
            refused.update({(key.device, reason): n for reason, n in others.items()})
    keys = tuple(key for key, _, _ in found)
    return Experience(
        np.concatenate(features), keys, samples, last, tuple(outcomes), tuple(owners), refused
    )


def _open(store: Store, spec: PolicySpec, after: int) -> tuple[list[_Read], int]:
    codec, digest, found, last = Codec(), spec.digest, list[_Read](), after
    for row, key, source, body in store.experience(after):
        last = row
        try:
            segment = open_body(codec, body)
        except Misfitting:
            continue
        if segment.spec == digest:
            found.append(_Read(key, source, segment))
    return found, last
