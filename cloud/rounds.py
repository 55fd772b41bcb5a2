"""Rounds of learning, step by step: look, play, keep, fit, judge, conclude, record, release.

Steps on lane "learn" call the trainer, steps on lane "disk" the store; each step's result decides
the next. A step that fails is told, and its round begun again after a while.
"""

from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from tierloop.cloud.backend import Backend, Cancelled
from tierloop.cloud.experience import Experience, read
from tierloop.cloud.gate import GateVerdict
from tierloop.cloud.ingest import Ingest
from tierloop.cloud.lineage import PolicyRecord
from tierloop.cloud.publisher import Publisher, Release
from tierloop.cloud.store import Store
from tierloop.cloud.testimony import Witness
from tierloop.cloud.trainer import Trainer
from tierloop.cloud.withdrawal import Fall, ReleaseScores
from tierloop.contract.account import Account
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.counters import FAILED, OUTCOMES_REFUSED, SAMPLES, member
from tierloop.contract.effects import Compute, Effects, Timer
from tierloop.contract.messages import Segment
from tierloop.contract.specs import PolicySpec

LOOK_NS = NS_PER_S
"""How often the store is asked for news while none is being learnt from."""

RETRY_NS = 5 * NS_PER_S
"""How long to wait after a step failed."""


class Rounds:
    """Drives trainer and backend; `phase` says what is going on, in one word."""

    def __init__(
        self,
        spec: PolicySpec,
        store: Store,
        ingest: Ingest,
        trainer: Trainer,
        backend: Backend,
        publisher: Publisher,
        account: Account,
        robots: Collection[str],
    ) -> None:
        self._spec, self._ingest = spec, ingest
        self._store, self._policies = store, store.policies
        self._trainer, self._backend = trainer, backend
        self._publisher, self._account = publisher, account
        self.phase = "starting"
        self._ready = False
        self._news: list[Experience] = []
        self._row = 0
        self._record: PolicyRecord | None = None
        self._scores, self._testimony = ReleaseScores(), Witness(robots)
        self._round_ns: int | None = None
        self._since_ns = 0
        self._spent_ns: Counter[str] = Counter()
        self._steps: dict[str, Callable[[int, Any], Effects]] = {
            "raise": self._raised,
            "look": self._looked,
            "play": self._played,
            "keep": self._kept,
            "fit": self._fitted,
            "judge": self._judged,
            "conclude": self._concluded,
            "record": self._recorded,
            "withdrawn": self._told,
            "withdraw": self._withdrawn,
            "revert": self._reverted,
        }

    def start(self, now_ns: int, newest: PolicyRecord | None) -> Effects:
        """Goes on from `newest`, or from an untrained version 0; raises the backend meanwhile."""
        self._since_ns = now_ns
        self._account.gauges["workers.up"] = 0.0
        effects = [self._learn("raise", self._backend.start)]
        if newest is None:
            return [self._learn("conclude", self._trainer.untrained), *effects]
        self._account.event(now_ns, "resumed", f"v{newest.version} is the newest release")
        return [self._disk("withdrawn", self._policies.withdrawn), *self._release(newest), *effects]

    def spent_ns(self, now_ns: int) -> dict[str, int]:
        """Time spent in each phase so far."""
        current_ns = self._spent_ns[self.phase] + now_ns - self._since_ns
        return {**self._spent_ns, self.phase: current_ns}

    def _enter(self, now_ns: int, phase: str) -> None:
        self._spent_ns[self.phase] += now_ns - self._since_ns
        self.phase, self._since_ns = phase, now_ns

    def on_timer(self, name: str) -> Effects:
        if name == "look":
            return [self._disk("look", self._read)]
        if name == "raise":
            return [self._learn("raise", self._backend.start)]
        if name == "conclude":
            return [self._learn(name, self._trainer.untrained)]
        return self._write() if name == "record" else []

    def on_done(self, now_ns: int, name: str, result: Any) -> Effects:
        """The next step. Raises KeyError if no such step was asked for."""
        if isinstance(result, Exception):
            return self._failed(now_ns, name, result)
        return self._steps[name](now_ns, result)

    def _raised(self, now_ns: int, said: str | None) -> Effects:
        self._ready = True
        self._account.gauges["workers.up"] = 1.0
        if said:
            self._account.event(now_ns, "backend_elsewhere", said)
        return self._collect(now_ns)

    def _collect(self, now_ns: int, after_ns: int = 0) -> Effects:
        """Waits for news, once the backend is up and something is released."""
        if not self._ready or self._publisher.newest is None:
            return []
        self._enter(now_ns, "resting" if self._trainer.resting else "collecting")
        if self._trainer.resting:
            self._news.clear()
            after_ns = max(after_ns, LOOK_NS)
        return [Timer("look", now_ns + after_ns)] if self._trainer.learns else []

    def _looked(self, now_ns: int, experience: Experience) -> Effects:
        self._take(now_ns, experience)
        fall = self._scores.fallen(self._trainer.incumbent, now_ns)
        if fall is not None:
            return [self._disk("withdraw", partial(self._withdraw, fall, now_ns))]
        if self._trainer.resting or not self._trainer.enough(self._news):
            return self._collect(now_ns, LOOK_NS)
        self._round_ns = now_ns
        self._enter(now_ns, "playing")
        return [self._learn("play", partial(self._trainer.play, tuple(self._news)))]

    def _read(self) -> Experience:
        return read(self._store, self._spec, self._row, self._testimony)

    def _played(self, now_ns: int, segments: list[Segment]) -> Effects:
        def keep() -> Experience:
            self._ingest.keep(segments, now_ns)
            return self._read()

        return [self._disk("keep", keep)]

    def _kept(self, now_ns: int, experience: Experience) -> Effects:
        self._take(now_ns, experience)
        self._enter(now_ns, "fitting")
        news, self._news = self._news, []
        return [self._learn("fit", partial(self._trainer.fit, news))]

    def _take(self, now_ns: int, experience: Experience) -> None:
        self._news.append(experience)
        self._row = experience.last
        self._scores.take(experience.outcomes, now_ns)
        for (robot, reason), n in experience.refused.items():
            self._account.counts[member(OUTCOMES_REFUSED, reason)] += n
            self._account.event(now_ns, "outcomes_refused", f"{robot}: {n} for their {reason}")
        for source, rows in experience.samples.items():
            self._account.counts[member(SAMPLES, source)] += rows

    def _fitted(self, now_ns: int, _: None) -> Effects:
        self._enter(now_ns, "judging")
        return [self._learn("judge", self._trainer.judge)]

    def _judged(self, now_ns: int, verdict: GateVerdict) -> Effects:
        word = "released" if verdict.released else "refused"
        self._account.gauges["twin.candidate"] = verdict.candidate
        self._account.gauges["twin.incumbent"] = verdict.incumbent
        self._account.event(
            now_ns, f"candidate_{word}", f"{word} v{self._trainer.version}: {verdict}"
        )
        self._enter(now_ns, "exporting")
        return [self._learn("conclude", self._trainer.conclude)]

    def _concluded(self, _now_ns: int, record: PolicyRecord) -> Effects:
        self._record = record
        return self._write()

    def _write(self) -> Effects:
        if (record := self._record) is None:
            return []
        return [self._disk("record", partial(self._policies.record, record))]

    def _recorded(self, now_ns: int, _: None) -> Effects:
        if self._round_ns is not None:
            self._account.counts["rounds"] += 1
            self._account.gauges["round_s"] = (now_ns - self._round_ns) / NS_PER_S
            self._round_ns = None
        record, self._record = self._record, None
        released = record is not None and record.state == "released"
        return (self._release(record) if released and record else []) + self._collect(now_ns)

    def _told(self, _now_ns: int, withdrawn: list[tuple[int, str]]) -> Effects:
        for version, digest in withdrawn:
            self._scores.leave_out(version)
            self._publisher.withdraw(digest)
        return []

    def _withdraw(self, fall: Fall, now_ns: int) -> tuple[Fall, PolicyRecord | None]:
        return fall, self._policies.withdraw(fall.version, fall.before, now_ns, str(fall))

    def _withdrawn(self, now_ns: int, done: tuple[Fall, PolicyRecord | None]) -> Effects:
        fall, record = done
        if record is None:
            self._scores.leave_out(fall.before)
            return self._collect(now_ns)
        self._scores.leave_out(fall.version)
        self._account.event(now_ns, "release_withdrawn", str(fall))
        self._account.counts["withdrawn"] += 1
        bad = self._publisher.newest
        if bad is not None and bad.version == fall.version:
            self._publisher.withdraw(bad.digest)
        offers = self._publish(record)
        return [*offers, self._learn("revert", partial(self._trainer.withdraw, record))]

    def _reverted(self, now_ns: int, _: None) -> Effects:
        return self._collect(now_ns)

    def _release(self, record: PolicyRecord) -> Effects:
        self._account.counts["released"] += 1
        return self._publish(record)

    def _publish(self, record: PolicyRecord) -> Effects:
        self._account.gauges["version"] = record.version
        return self._publisher.release(
            Release(record.version, record.digest, record.parents, record.blob)
        )

    def _failed(self, now_ns: int, name: str, error: Exception) -> Effects:
        if isinstance(error, Cancelled):
            return []
        self._account.counts[member(FAILED, name)] += 1
        self._account.event(now_ns, "step_failed", f"{name}: {_reason(error)}")
        self._round_ns = None
        self._enter(now_ns, "retrying")
        untrained = name == "conclude" and self._publisher.newest is None
        if name in ("raise", "record") or untrained:
            return [Timer(name, now_ns + RETRY_NS)]
        return self._collect(now_ns, RETRY_NS)

    @staticmethod
    def _learn(name: str, job: Callable[[], Any]) -> Compute:
        return Compute(name, job, "learn")

    @staticmethod
    def _disk(name: str, job: Callable[[], Any]) -> Compute:
        return Compute(name, job, "disk")


def _reason(error: Exception) -> str:
    """What went wrong in one line; a worker's error ends in it, after where it happened."""
    lines = [line for line in str(error).splitlines() if line.strip(" ^~")]
    return f"{type(error).__name__}: {lines[-1].strip() if lines else ''}"
