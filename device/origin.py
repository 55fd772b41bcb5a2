"""Says which observations a setpoint answers: their mean age by share, the oldest, the versions."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from tierloop.contract.messages import ActionChunk


class Origin(NamedTuple):
    """What a setpoint is made of.

    `captured_ns`: capture of the observations it answers, the mean weighted by the share that each
    chunk has in the setpoint; `oldest_ns`: capture of the oldest that has a share; `versions`: each
    policy version with its share, largest first; the shares sum to 1.
    """

    captured_ns: int
    oldest_ns: int
    versions: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, chunk: ActionChunk) -> Origin:
        """A setpoint of one chunk alone."""
        captured_ns = chunk.captured_ns
        return cls(captured_ns, captured_ns, ((chunk.policy_version, 1.0),))

    def faded(self, earlier: Origin, share: float) -> Origin:
        """This one with `share`, from 0 to 1, and the rest of `earlier`."""
        if share >= 1.0:
            return self
        if share <= 0.0:
            return earlier
        versions = self.versions
        if (
            len(versions) > 1
            or len(earlier.versions) > 1
            or versions[0][0] != earlier.versions[0][0]
        ):
            shares: Counter[int] = Counter()
            for origin, part in ((self, share), (earlier, 1.0 - share)):
                for version, weight in origin.versions:
                    shares[version] += weight * part  # type: ignore[assignment]
            versions = tuple(shares.most_common())
        captured_ns = earlier.captured_ns
        captured_ns += round((self.captured_ns - captured_ns) * share)
        return Origin(captured_ns, min(self.oldest_ns, earlier.oldest_ns), versions)
