"""The publisher: offers the newest release to every edge, sends it, and knows who runs which."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from tierloop.contract.effects import Effects, Send
from tierloop.contract.messages import Fetch, Offer, Part, PolicyStatus

PART_MAX = 64 * 1024
"""Bytes in one part at most; fits the stream's frame with its header."""

OFFERS_MAX = 3
"""An edge that refuses a release is offered it this often in all."""

PASSING = "disk"
"""A reason for refusing a release that says nothing about it: it is offered until there is room."""

FINAL = frozenset({"spec", "format"})
"""Reasons for refusing a release that no second try can change."""

SPARE_BYTES = 16 * PART_MAX
"""Between two reminders an edge is sent a release twice, and so much more."""

KEPT = 3
"""Releases whose bytes are still served: a download under way may end."""


class Release(NamedTuple):
    """A released policy and its bytes."""

    version: int
    digest: str
    parents: tuple[int, ...]
    blob: bytes

    def offer(self, rollback: bool = False) -> Offer:
        """The offer of it; with `rollback` an edge takes it although it runs a later one."""
        return Offer(
            version=self.version, digest=self.digest, size=len(self.blob), parents=self.parents,
            rollback=rollback,
        )  # fmt: skip


class Publisher:
    """No I/O: every method returns what to send."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.active: dict[str, int] = {}
        """The version each edge in session last said it runs."""
        self._running: dict[str, str] = {}
        self._withdrawn: set[str] = set()
        self._releases: dict[str, Release] = {}
        self._edges: set[str] = set()
        self._served: Counter[str] = Counter()
        self._refusals: Counter[tuple[str, str]] = Counter()

    @property
    def newest(self) -> Release | None:
        return next(reversed(self._releases.values()), None)

    def release(self, release: Release) -> Effects:
        """Makes `release` the newest and offers it to every edge in session."""
        self._releases.pop(release.digest, None)
        self._releases[release.digest] = release
        while len(self._releases) > KEPT:
            del self._releases[next(iter(self._releases))]
        for gone in [key for key in self._refusals if key[1] not in self._releases]:
            del self._refusals[gone]
        return [effect for edge in sorted(self._edges) for effect in self._offer(edge)]

    def withdraw(self, digest: str) -> None:
        """An edge that runs this release is to go back to the newest; see `release`, `remind`."""
        self._withdrawn.add(digest)

    def joined(self, edge: str) -> Effects:
        """An edge has opened a session: whatever it had before, it is told what is newest."""
        self._edges.add(edge)
        return self._offer(edge)

    def remind(self) -> Effects:
        """Offers the newest release again where it is not known to have come: offers get lost."""
        newest = self.newest
        self._served.clear()
        if newest is None:
            return []
        behind = [
            edge
            for edge in sorted(self._edges)
            if self.active.get(edge, -1) < newest.version or self._astray(edge)
        ]
        return [effect for edge in behind for effect in self._offer(edge)]

    def left(self, edge: str) -> None:
        """An edge is gone. What it runs is not known until it tells again."""
        self._edges.discard(edge)
        self.active.pop(edge, None)
        self._running.pop(edge, None)

    def fetch(self, edge: str, wanted: Fetch) -> Effects:
        """The part asked for, or nothing if there is no such part."""
        release = self._releases.get(wanted.digest)
        if release is None:
            self.counts["refused.fetch_unknown"] += 1
            return []
        if not 0 <= wanted.offset < len(release.blob) or wanted.length <= 0:
            self.counts["refused.fetch_range"] += 1
            return []
        end = wanted.offset + min(wanted.length, PART_MAX)
        data = np.frombuffer(release.blob[wanted.offset : end], np.uint8)
        if self._served[edge] + len(data) > 2 * len(release.blob) + SPARE_BYTES:
            self.counts["refused.fetch_often"] += 1
            return []
        self._served[edge] += len(data)
        self.counts["parts"] += 1
        return [Send(edge, Part(digest=wanted.digest, offset=wanted.offset, data=data))]

    def status(self, edge: str, status: PolicyStatus) -> None:
        """Takes note of what became of a release on an edge."""
        if status.state == "active":
            self.active[edge], self._running[edge] = status.version, status.digest
        elif status.state == "refused":
            reason = status.reason.split(":")[0]
            if reason != PASSING and status.digest in self._releases:
                self._refusals[edge, status.digest] += OFFERS_MAX if reason in FINAL else 1
            self.counts["release_refused"] += 1

    def _offer(self, edge: str) -> Effects:
        newest = self.newest
        if newest is None or self._refusals[edge, newest.digest] >= OFFERS_MAX:
            return []
        self.counts["offers"] += 1
        return [Send(edge, newest.offer(self._astray(edge)))]

    def _astray(self, edge: str) -> bool:
        """Whether an edge runs what was withdrawn, and has to go back."""
        newest = self.newest
        assert newest is not None
        withdrawn = self._running.get(edge) in self._withdrawn
        return withdrawn and self.active[edge] > newest.version
