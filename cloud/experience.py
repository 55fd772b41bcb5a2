"""Experience: what the learner learns from, as it is in the store."""

from typing import NamedTuple

import numpy as np

from cloud.ingest import open_body
from cloud.lineage import Key
from cloud.store import Store
from contract.codec import Codec
from contract.messages import Outcome
from contract.specs import FloatArray, PolicySpec


class Experience(NamedTuple):
    """Observations float32[N, D] of the segments `keys`; `samples` counts rows by source.

    `outcomes` are those of the bodies; `last` is the store's row to go on from.
    """

    features: FloatArray
    keys: tuple[Key, ...]
    samples: dict[str, int]
    last: int
    outcomes: tuple[Outcome, ...] = ()


def read(store: Store, spec: PolicySpec, after: int) -> Experience:
    """What was stored behind row `after`, for a policy of this spec; other specs are left out."""
    codec, digest = Codec(), spec.digest
    features = [np.empty((0, spec.observation.size), np.float32)]
    keys, samples, last = [], {"lived": 0, "twin": 0}, after
    outcomes: list[Outcome] = []
    for row, key, source, body in store.experience(after):
        segment, last = open_body(codec, body), row
        if segment.spec == digest:
            features.append(segment.features)
            keys.append(key)
            samples[source] += len(segment.features)
            outcomes += segment.outcomes if source == "lived" else ()
    return Experience(np.concatenate(features), tuple(keys), samples, last, tuple(outcomes))
