"""Lived: how releases fare on the bodies themselves, and whether one has to be withdrawn."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from cloud.gate import worse
from contract.messages import Outcome

WITHDRAW_P = 0.01
"""Below the gate's, since every new episode is another chance to be wrong."""


class Fall(NamedTuple):
    """Release `version` lives worse than `before`; `p`: how likely that would be by chance."""

    version: int
    before: int
    p: float
    figures: str

    def __str__(self) -> str:
        return f"v{self.version} withdrawn for v{self.before}: {self.figures}, p={self.p:.3g}"


class Lived:
    """Episodes and successes of the bodies by the one version that acted in them."""

    def __init__(self) -> None:
        self._episodes: Counter[int] = Counter()
        self._successes: Counter[int] = Counter()
        self._out: set[int] = set()

    def take(self, outcomes: Iterable[Outcome]) -> None:
        """Each outcome is to be taken once."""
        for outcome in outcomes:
            self._episodes[outcome.policy_version] += 1
            self._successes[outcome.policy_version] += outcome.success

    def leave_out(self, version: int) -> None:
        """This version is nothing to go back to: it was withdrawn, or is not at hand."""
        self._out.add(version)

    def fallen(self, version: int) -> Fall | None:
        """Whether the release `version` lives worse, beyond chance, than the one lived before."""
        earlier = [v for v in self._episodes if 0 <= v < version and v not in self._out]
        if not earlier or version not in self._episodes:
            return None
        before = max(earlier)
        ok, n = self._successes[version], self._episodes[version]
        ok_before, n_before = self._successes[before], self._episodes[before]
        p = worse(ok, n, ok_before, n_before)
        if p > WITHDRAW_P:
            return None
        return Fall(version, before, p, f"{ok} of {n} lived against {ok_before} of {n_before}")
