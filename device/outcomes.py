"""Turns judged episodes into outcomes: says which policy acted, and keeps them for the report."""

from collections import deque

from tierloop.contract.body import Episode
from tierloop.contract.bounds import MIXED, cut
from tierloop.contract.messages import Outcome

OUTCOMES_TOLD = 64
"""Outcomes in one report; the rest are for the next."""
REASON_MAX = 64
"""Characters of an episode's reason, which are a task's own words."""
SWITCHES = 64
"""Changes of policy that are remembered."""


class Outcomes:
    """`waiting`: the outcomes that no report has told yet, oldest first."""

    def __init__(self) -> None:
        self.waiting: list[Outcome] = []
        self._switches: deque[tuple[int, int]] = deque(maxlen=SWITCHES)

    def switched(self, now_ns: int, version: int) -> None:
        """Notes that another policy acts from `now_ns` on."""
        self._switches.append((now_ns, version))

    def judged(self, episode: Episode) -> Outcome:
        """Adds a judged episode; returns its outcome."""
        acted = {v for t, v in self._switches if episode.started_ns < t <= episode.ended_ns}
        before = [v for t, v in self._switches if t <= episode.started_ns]
        acted |= set(before[-1:])
        outcome = Outcome(
            number=episode.number, success=episode.success, reason=cut(episode.reason, REASON_MAX),
            policy_version=acted.pop() if len(acted) == 1 else MIXED,
            started_ns=episode.started_ns, ended_ns=episode.ended_ns,
        )  # fmt: skip
        self.waiting.append(outcome)
        return outcome

    def take(self) -> tuple[Outcome, ...]:
        """Returns the next outcomes for a report, OUTCOMES_TOLD at most."""
        taken = tuple(self.waiting[:OUTCOMES_TOLD])
        del self.waiting[:OUTCOMES_TOLD]
        return taken
