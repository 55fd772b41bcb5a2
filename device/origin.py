"""Says which observations a setpoint answers: their mean age by share, the oldest, the versions."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from tierloop.contract.messages import ActionChunk

LEAST = 0.01
"""Shares below it are none. What a plan began at is in what the next one began at, and so on: the
oldest with any share at all would be the first of all."""

ChunkShare = tuple[ActionChunk, float]
"""A chunk and its share in a setpoint."""


class Origin(NamedTuple):
    """What a setpoint is made of.

    `captured_ns`: capture of the observations it answers, the mean weighted by the share that each
    chunk has in the setpoint; `oldest_ns`: capture of the oldest that has a share; `versions`: each
    policy version with its share, largest first. `parts`: the chunks themselves, where a plan
    begins.
    """

    captured_ns: int
    oldest_ns: int
    versions: tuple[tuple[int, float], ...]
    parts: tuple[ChunkShare, ...] = ()

    @classmethod
    def of(cls, *parts: ChunkShare) -> Origin:
        """A setpoint of these chunks; shares below LEAST are left out, the others sum to 1."""
        shares: dict[int, ChunkShare] = {}
        for chunk, share in parts:
            shares[chunk.captured_ns] = chunk, share + shares.get(chunk.captured_ns, (chunk, 0))[1]
        kept = [part for part in shares.values() if part[1] >= LEAST] or [*shares.values()]
        whole = sum(share for _, share in kept)
        versions: Counter[int] = Counter()
        for chunk, share in kept:
            versions[chunk.policy_version] += share / whole  # type: ignore[assignment]
        newest_ns = max(chunk.captured_ns for chunk, _ in kept)
        older_ns = sum((newest_ns - chunk.captured_ns) * share for chunk, share in kept) / whole
        return cls(
            newest_ns - round(older_ns),
            min(chunk.captured_ns for chunk, _ in kept),
            tuple(versions.most_common()),
            tuple((chunk, share / whole) for chunk, share in kept),
        )

    def faded(self, earlier: Origin, share: float) -> Origin:
        """This one with `share`, from 0 to 1, and the rest of `earlier`; without the parts."""
        if share >= 1.0:
            return self
        if share <= 0.0:
            return earlier
        captured_ns, oldest_ns, versions, _ = self
        before_ns, older_ns, others, _ = earlier
        if len(versions) > 1 or len(others) > 1 or versions[0][0] != others[0][0]:
            shares: Counter[int] = Counter()
            for origin, part in ((self, share), (earlier, 1.0 - share)):
                for version, weight in origin.versions:
                    shares[version] += weight * part  # type: ignore[assignment]
            versions = tuple(shares.most_common())
        mean_ns = before_ns + round((captured_ns - before_ns) * share)
        # Some in every tick: its own constructor would take more than all the rest.
        oldest_ns = oldest_ns if oldest_ns < older_ns else older_ns
        return tuple.__new__(Origin, (mean_ns, oldest_ns, versions, ()))
