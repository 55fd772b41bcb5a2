"""The cloud as a node: takes in experience, serves policies, and leaves learning to its rounds.

Two lanes, "disk" for the store and "learn" for the trainer, do not wait for one another:
experience is stored and policies are served while a round runs.
"""

import sqlite3
from collections.abc import Collection
from functools import partial
from typing import Any

from tierloop.cloud.backend import Backend
from tierloop.cloud.config import CLOUD, IDLE_PHASES, CloudConfig
from tierloop.cloud.ingest import Ingest, Ingested
from tierloop.cloud.lineage import PolicyRecord
from tierloop.cloud.publisher import Publisher
from tierloop.cloud.rounds import Rounds
from tierloop.cloud.store import Store
from tierloop.cloud.trainer import Trainer
from tierloop.contract.account import Account
from tierloop.contract.bounds import INT_MAX, TEXT_MAX, cut
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.counters import ENERGY_J, PHASE_S, member
from tierloop.contract.effects import Compute, Effects, Send, Timer
from tierloop.contract.messages import (
    PROTOCOL,
    Fetch,
    Hello,
    Message,
    PolicyStatus,
    Refused,
    Report,
    Sealed,
    Welcome,
)
from tierloop.contract.specs import PolicySpec

EDGE = "edge"
"""The name and the role of the one peer that is served."""

PENDING_MAX = 1024
"""Segments that may wait for a commit; what comes beyond is dropped, and sent again."""

PENDING_BYTES = 64 * 2**20
"""Bytes of them at most."""

BATCH_MAX = 256
"""Segments of one commit: inflated they are 64 MB at most."""

REMIND_NS = 3 * NS_PER_S
"""How often an edge that does not run the newest release is offered it again."""


class CloudNode:
    """No I/O: store, trainer and backend are handed in, and called in jobs alone."""

    def __init__(
        self,
        config: CloudConfig,
        spec: PolicySpec,
        store: Store,
        trainer: Trainer,
        backend: Backend,
        boot: int,
        newest: PolicyRecord | None,
        robots: Collection[str] = (),
    ) -> None:
        """`newest` is the release to go on from; without one, version 0 is made.

        Experience is taken from `robots` alone.
        """
        self._config, self._boot, self._newest = config, boot, newest
        self._spec_digest = spec.digest
        self._ingest = Ingest(store, spec, robots)
        self._account, self.publisher = Account(), Publisher()
        self.rounds = Rounds(
            spec, store, self._ingest, trainer, backend, self.publisher, self._account, robots
        )
        self._pending: list[tuple[str, Sealed]] = []
        self._pending_bytes = 0
        self._committing: list[tuple[str, Sealed]] = []
        self._joined: dict[str, int] = {}
        self._started_ns = 0

    def on_start(self, now_ns: int) -> Effects:
        self._started_ns = now_ns
        remind = Timer("remind", now_ns + REMIND_NS)
        return [*self.rounds.start(now_ns, self._newest), remind]

    def on_message(self, now_ns: int, peer: str, message: Message) -> Effects:
        match message:
            case Sealed():
                return self._sealed(now_ns, peer, message)
            case Fetch():
                return self.publisher.fetch(peer, message)
            case PolicyStatus():
                self._status(now_ns, peer, message)
            case Hello():
                return self._hello(now_ns, peer, message)
            case _:
                self._account.counts["refused.message"] += 1
        return []

    def on_lost(self, now_ns: int, peer: str) -> Effects:
        self.publisher.left(peer)
        self._joined.pop(peer, None)
        self._account.event(now_ns, "edge_lost", peer)
        return []

    def on_timer(self, now_ns: int, name: str) -> Effects:
        if name == "remind":
            return [*self.publisher.remind(), Timer(name, now_ns + REMIND_NS)]
        return self._commit(now_ns) if name == "commit" else self.rounds.on_timer(name)

    def on_done(self, now_ns: int, name: str, result: Any) -> Effects:
        if name != "commit":
            return self.rounds.on_done(now_ns, name, result)
        batch, self._committing = self._committing, []
        if isinstance(result, Exception):
            self._lose(now_ns, batch, result)
            return self._commit(now_ns)
        return self._acknowledge(now_ns, batch, result) + self._commit(now_ns)

    def report(self, now_ns: int) -> Report:
        config, up_s = self._config, (now_ns - self._started_ns) / NS_PER_S
        spent_s = {phase: ns / NS_PER_S for phase, ns in self.rounds.spent_ns(now_ns).items()}
        busy_s = sum(s for phase, s in spent_s.items() if phase not in IDLE_PHASES)
        rest_w = (config.idle_w or 0.0) if config.dedicated else 0.0
        energy_j = rest_w * up_s + ((config.busy_w or 0.0) - rest_w) * busy_s
        counters = {name: float(n) for name, n in self.publisher.counts.items()}
        counters |= {member(ENERGY_J, "compute"): energy_j, "busy_s": busy_s}
        counters |= {member(PHASE_S, phase): s for phase, s in spent_s.items()}
        running = ", ".join(f"{e}: v{v}" for e, v in sorted(self.publisher.active.items()))
        labels = {"phase": self.rounds.phase, "running": cut(running, TEXT_MAX)}
        return self._account.report(CLOUD, self._boot, now_ns, counters, labels)

    def _hello(self, now_ns: int, claim: str, hello: Hello) -> Effects:
        reason, name = "", hello.node
        if hello.role != EDGE or name != EDGE:
            reason = f"{hello.role} {name} is no edge of this deployment; only its edge is served"
        elif hello.protocol != PROTOCOL:
            reason = f"protocol {hello.protocol}, the cloud speaks {PROTOCOL}"
        elif hello.boot > INT_MAX:
            reason = f"boot {hello.boot} is past 63 bits"
        elif hello.spec != self._spec_digest:
            reason = f"spec {hello.spec}, the cloud trains for {self._spec_digest}"
        if reason:
            self._account.counts["refused.hello"] += 1
            self._account.event(now_ns, "edge_refused", f"{name}: {reason}")
            return [Send(claim, Refused(reason=reason, final=True))]
        if self._joined.get(name) != hello.boot:
            self._joined[name] = hello.boot
            self._account.event(now_ns, "edge_joined", name)
        welcome = Send(claim, Welcome(node=CLOUD, boot=self._boot, acked=0))
        return [welcome, *self.publisher.joined(name)]

    def _status(self, now_ns: int, peer: str, status: PolicyStatus) -> None:
        self.publisher.status(peer, status)
        reason = f": {status.reason}" if status.reason else ""
        what = f"v{status.version} is {status.state} on {peer}{reason}"
        self._account.event(now_ns, "policy_status", what)

    def _sealed(self, now_ns: int, peer: str, sealed: Sealed) -> Effects:
        size = self._pending_bytes + len(sealed.body)
        if len(self._pending) >= PENDING_MAX or size > PENDING_BYTES:
            self._account.counts["dropped.busy"] += 1
            return []
        self._pending_bytes = size
        self._pending.append((peer, sealed))
        return [] if self._committing else [Timer("commit", now_ns)]

    def _commit(self, now_ns: int) -> Effects:
        """One commit for what waits, unless one is under way."""
        if self._committing or not self._pending:
            return []
        self._committing, self._pending = self._pending[:BATCH_MAX], self._pending[BATCH_MAX:]
        batch = [sealed for _, sealed in self._committing]
        self._pending_bytes -= sum(len(sealed.body) for sealed in batch)
        return [Compute("commit", partial(self._ingest.take, batch, now_ns), "disk", len(batch))]

    def _acknowledge(self, now_ns: int, batch: list[tuple[str, Sealed]], done: Ingested) -> Effects:
        senders: dict[tuple[str, int], set[str]] = {}
        for peer, sealed in batch:
            senders.setdefault((sealed.device, sealed.boot), set()).add(peer)
        self._account.counts.update(done.counts)
        for name, detail in done.notes:
            self._account.event(now_ns, name, detail)
        return [
            Send(peer, ack) for ack in done.acks for peer in sorted(senders[ack.device, ack.boot])
        ]

    def _lose(self, now_ns: int, batch: list[tuple[str, Sealed]], error: Exception) -> None:
        """Nothing of a failed batch is acknowledged; its senders will send it again."""
        self._account.counts["dropped.disk"] += len(batch)
        self._account.event(now_ns, "commit_failed", f"{type(error).__name__}: {error}")
        if not isinstance(error, sqlite3.Error):
            self._account.counts["failed.commit"] += 1
