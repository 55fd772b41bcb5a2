"""Counts how each release fares on the robots, and decides whether to withdraw it.

A robot's word on a release counts beside its own word on the release before, and none counts for
more than the next. Where several robots have a word to say, the verdict must be the same without
any one of them: one that lies, or whose cell is out of order, takes no release back.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tierloop.cloud.gate import worse
from tierloop.cloud.testimony import Heard
from tierloop.contract.clock import NS_PER_S

WITHDRAW_P = 0.01
"""Below the gate's, since every new episode is another chance to be wrong."""

WAIT_NS = 60 * NS_PER_S
"""How long the verdict on a release waits, from the first outcome of it on, for the robots that ran
the one before."""


class Fall(NamedTuple):
    """Release `version` does worse than `before`; `p`: how likely that would be by chance."""

    version: int
    before: int
    p: float
    figures: str

    def __str__(self) -> str:
        return f"v{self.version} withdrawn for v{self.before}: {self.figures}, p={self.p:.3g}"


class Score(NamedTuple):
    """Episodes and how many of them succeeded."""

    successes: int
    episodes: int

    def most(self, episodes: int) -> "Score":
        """The same rate in so many episodes at most."""
        if self.episodes <= episodes:
            return self
        return Score(round(self.successes * episodes / self.episodes), episodes)


class Word(NamedTuple):
    """The scores of one robot: with the release, and with `before`, which it ran before that."""

    before: int
    now: Score
    then: Score


class ReleaseScores:
    """Counts the episodes of each robot by the one version that acted in them."""

    def __init__(self) -> None:
        self._scores: defaultdict[str, dict[int, Score]] = defaultdict(dict)
        self._first_ns: dict[int, int] = {}
        self._out: set[int] = set()

    def take(self, heard: Iterable[Heard], now_ns: int = 0) -> None:
        """Each outcome is to be taken once."""
        for robot, outcome in heard:
            version, scores = outcome.policy_version, self._scores[robot]
            ok, n = scores.get(version, Score(0, 0))
            scores[version] = Score(ok + outcome.success, n + 1)
            self._first_ns.setdefault(version, now_ns)

    def leave_out(self, version: int) -> None:
        """This version is nothing to go back to: it was withdrawn, or is not at hand."""
        self._out.add(version)

    def fallen(self, version: int, now_ns: int = WAIT_NS) -> Fall | None:
        """Says if release `version` does worse, beyond chance, than those that ran before it."""
        words, silent = self._words(version)
        if not words or (silent and now_ns - self._first_ns[version] < WAIT_NS):
            return None
        told = Counter(word.before for word in words)
        before = max(told, key=lambda v: (told[v], v))
        verdicts = [_verdict(words)]
        if len(words) > 1:
            verdicts += [_verdict(words[:i] + words[i + 1 :]) for i in range(len(words))]
        p = max(p for p, _ in verdicts)
        return None if p > WITHDRAW_P else Fall(version, before, *verdicts[0])

    def _words(self, version: int) -> tuple[list[Word], bool]:
        """Who has something to say, and whether someone is still to be heard."""
        words, silent = [], False
        for scores in self._scores.values():
            earlier = [v for v in scores if 0 <= v < version and v not in self._out]
            if earlier and version in scores:
                before = max(earlier)
                words.append(Word(before, scores[version], scores[before]))
            else:
                silent = silent or bool(earlier)
        return words, silent


def _verdict(words: list[Word]) -> tuple[float, str]:
    """How likely by chance, and the figures."""
    now = _sum([word.now for word in words])
    then = _sum([word.then for word in words])
    p = worse(now.successes, now.episodes, then.successes, then.episodes)
    return p, (
        f"{now.successes} of {now.episodes} episodes succeeded, against "
        f"{then.successes} of {then.episodes}"
    )


def _sum(scores: list[Score]) -> Score:
    """Adds the scores; the robot with most episodes counts for no more than the next one."""
    if len(scores) > 1:
        most = sorted(score.episodes for score in scores)[-2]
        scores = [score.most(most) for score in scores]
    return Score(sum(s.successes for s in scores), sum(s.episodes for s in scores))
