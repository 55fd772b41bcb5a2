"""Collects observations into batches: one per device, the longest waiting first."""

from itertools import islice
from typing import NamedTuple

import msgspec
import numpy as np

from tierloop.contract.account import Account
from tierloop.contract.bounds import STAMP_MAX
from tierloop.contract.messages import Observation
from tierloop.contract.specs import FloatArray, finite


class Request(msgspec.Struct, frozen=True, gc=False):
    """An observation, and when it arrived on the edge's clock."""

    arrived_ns: int
    observation: Observation


class Batch(NamedTuple):
    """Requests with their `features`, float32[len(requests), D], valid until the next `take`."""

    requests: list[Request]
    features: FloatArray


class Batcher:
    """Keeps the newest observation of each device; drops and counts what cannot be served.

    A newer observation takes the place in line of the one it supersedes, so that the deadline
    that ends first is served first and, with more devices than a batch holds, none is starved.
    `waiting`: by device, in line.
    """

    def __init__(self, inputs: int, batch_max: int, deadline_ns: int, account: Account) -> None:
        self._shape = (inputs,)
        self._batch_max = batch_max
        self._deadline_ns = deadline_ns
        self._counts = account.counts
        self._rows = np.zeros((batch_max, inputs), np.float32)
        self.waiting: dict[str, Request] = {}
        self._newest: dict[str, int] = {}

    def open(self, device: str) -> None:
        """Begins a session: numbers start anew; observations of the last one are dropped."""
        self.close(device)
        self._newest[device] = -1

    def close(self, device: str) -> None:
        """Ends a session."""
        self._newest.pop(device, None)
        if self.waiting.pop(device, None):
            self._counts["dropped.lost"] += 1

    def add(self, now_ns: int, observation: Observation) -> bool:
        """Adds an observation of an open session. Returns False if it was refused and counted."""
        counts, device, seq = self._counts, observation.device, observation.seq
        counts["observations"] += 1
        if seq <= self._newest[device]:
            counts["dropped.reordered"] += 1
            return False
        features = observation.features
        if (
            features.shape != self._shape
            or not 0 <= observation.captured_ns < STAMP_MAX
            or not finite(features)
        ):
            counts["dropped.misfit"] += 1
            return False
        self._newest[device] = seq
        if device in self.waiting:
            counts["dropped.superseded"] += 1
        self.waiting[device] = Request(now_ns, observation)
        return True

    def take(self, now_ns: int) -> Batch | None:
        """Returns the next batch, `batch_max` at most, or None; drops what is past its deadline."""
        oldest_ns = now_ns - self._deadline_ns
        requests: list[Request] = []
        while self.waiting and not requests:
            for device in list(islice(self.waiting, self._batch_max)):
                request = self.waiting.pop(device)
                if request.arrived_ns < oldest_ns:
                    self._counts["dropped.expired"] += 1
                else:
                    self._rows[len(requests)] = request.observation.features
                    requests.append(request)
        return Batch(requests, self._rows[: len(requests)]) if requests else None

    def clear(self) -> None:
        """Drops all that waits and counts it: there is no policy."""
        self._counts["dropped.no_policy"] += len(self.waiting)
        self.waiting.clear()
