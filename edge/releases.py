"""Fetches, verifies, warms up and activates offered policies, or refuses them with a reason."""

from functools import partial
from typing import Any, NamedTuple

from tierloop.contract.account import Account
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.effects import Compute, Effects, Send, Timer
from tierloop.contract.errors import SpecError
from tierloop.contract.messages import Offer, Part, PolicyStatus
from tierloop.contract.policy import Policy
from tierloop.edge.download import Download
from tierloop.policy.artefact import ArtefactError
from tierloop.policy.shelf import Shelf

LANE = "policy"
LOAD, INSTALL, UNDO = "release.load", "release.install", "release.undo"
STALLED = "release.stalled"
STALL_NS = 2 * NS_PER_S
"""A download in which no part came for this long is asked for again."""

RELOAD = "release.reload"
RELOAD_NS = NS_PER_S
"""Where there is no policy to step back to, the failed one is loaded anew this much later, and that
is tried for again while the shelf is busy or cannot be read."""

REFUSED_MAX, REASON_MAX = 64, 200
"""Refusals remembered, the newest, and characters of each."""

PASSING = frozenset({"hash", "disk"})
"""Reasons that lie in the transfer or the host: the same policy may be tried again."""


class Live(NamedTuple):
    """The policy in force and the digest of its artefact."""

    policy: Policy
    digest: str


def standing(shelf: Shelf) -> Live | None:
    """Returns the shelf's active policy, or None."""
    policy = shelf.active()
    return None if policy is None else Live(policy, shelf.journal[-1].digest)


def anew(shelf: Shelf) -> Live | None:
    """Returns the shelf's active policy with a new engine, or None."""
    shelf.reload()
    return standing(shelf)


def install(shelf: Shelf, download: Download) -> Live:
    """Verifies, warms up and activates a downloaded policy. Raises ArtefactError or SpecError."""
    offer = download.offer
    policy = shelf.stage(download.blob(), offer.digest)
    try:
        if policy.version != offer.version:
            raise ArtefactError("version", f"offered as {offer.version}, it is {policy.version}")
        policy = shelf.rollback(offer.version) if offer.rollback else shelf.activate(offer.version)
    except ArtefactError:
        shelf.drop(policy.version)
        raise
    return Live(policy, offer.digest)


def undo(shelf: Shelf) -> Live:
    """Goes back to the previous policy. Raises ArtefactError if there is none."""
    return Live(shelf.rollback(), shelf.journal[-1].digest)


class Releases:
    """Keeps one policy in force; all work on the shelf is done in one lane, one job at a time."""

    def __init__(self, node: str, shelf: Shelf, account: Account) -> None:
        self._node, self._shelf, self._account = node, shelf, account
        self.live: Live | None = None
        self._open = False
        self._download: Download | None = None
        self._installing: Offer | None = None
        self._next: Offer | None = None
        self._undoing: Live | None = None
        self.refused: dict[str, str] = {}
        """Why a policy was refused, by its digest."""

    @property
    def policy(self) -> Policy | None:
        return self.live.policy if self.live else None

    @property
    def label(self) -> str:
        """Version and digest of the policy in force, for a person to read."""
        return f"v{self.live.policy.version} {self.live.digest[:6]}" if self.live else "none"

    def start(self) -> Effects:
        """Loads the policy that was active before a restart."""
        return [Compute(LOAD, partial(standing, self._shelf))]

    def loaded(self, now_ns: int, result: Any) -> Effects:
        if isinstance(result, Exception):
            self._account.event(now_ns, "shelf_failed", str(result))
            return [Timer(RELOAD, now_ns + RELOAD_NS)]
        self.live = result
        if result is not None:
            self.refused.pop(result.digest, None)
        return []

    def reload(self, now_ns: int) -> Effects:
        """Loads the policy in force anew: it failed and is the only one."""
        if self._installing or self._undoing:
            return [Timer(RELOAD, now_ns + RELOAD_NS)]
        return [Compute(LOAD, partial(anew, self._shelf), LANE)]

    def connected(self, now_ns: int) -> Effects:
        """Begins a session with the cloud: says what is in force, asks for missing parts."""
        self._open = True
        if self._download:
            self._download.resume()
        return self._status() + self._fetch(now_ns)

    def disconnected(self) -> None:
        self._open = False

    def offer(self, now_ns: int, offer: Offer) -> Effects:
        """Takes an offer of a release."""
        if self._installing or self._undoing:
            self._next = offer
            return []
        live = self.live
        known = live is not None and (
            offer.digest == live.digest
            or (offer.version <= live.policy.version and not offer.rollback)
        )
        if known:
            if self._download is not None and self._download.offer != offer:
                self._download = None  # it has been withdrawn
            return self._status()
        if offer.digest in self.refused:
            return self._refuse(now_ns, offer, self.refused[offer.digest])
        if self._download is None or self._download.offer != offer:
            try:
                self._download = Download(offer)
            except ArtefactError as error:
                return self._refuse(now_ns, offer, str(error))
        return self._fetch(now_ns)

    def part(self, now_ns: int, part: Part) -> Effects:
        """Takes bytes of a release."""
        download = self._download
        if download is None or not download.take(part):
            self._account.counts["parts_unasked"] += 1
            return []
        if not download.complete:
            return self._fetch(now_ns)
        self._download, self._installing = None, download.offer
        return [Compute(INSTALL, partial(install, self._shelf, download), LANE)]

    def stalled(self, now_ns: int) -> Effects:
        """Asks again for parts: none has come for STALL_NS."""
        if self._download is None or not self._open:
            return []
        self._account.counts["download_stalls"] += 1
        self._download.resume()
        return self._fetch(now_ns)

    def installed(self, now_ns: int, result: Any) -> Effects:
        """Puts an installed release in force, or refuses it if the installation failed."""
        offer, self._installing = self._installing, None
        assert offer is not None
        if isinstance(result, Exception):
            reason = _reason(result)
            if isinstance(result, SpecError) or (
                isinstance(result, ArtefactError) and result.reason not in PASSING
            ):
                self._bar(offer.digest, reason)
            effects = self._refuse(now_ns, offer, reason)
        else:
            effects = self._switch(now_ns, result, "policy_live")
        return effects + self._take_next(now_ns)

    def fault(self, now_ns: int, policy: Policy, wrong: str) -> Effects:
        """Goes back to the previous policy: the engine failed. Not if another job is under way."""
        self._account.counts["engine_faults"] += 1
        live = self.live
        if live is None or live.policy is not policy or live.digest in self.refused:
            return []
        if self._installing:
            return []
        self._bar(live.digest, f"engine: {wrong}")
        self._account.event(now_ns, "engine_fault", f"policy {self.label}: {wrong}")
        self._undoing = live
        return [Compute(UNDO, partial(undo, self._shelf), LANE)]

    def undone(self, now_ns: int, result: Any) -> Effects:
        """Puts the previous policy in force, or loads the failed one anew if there is none."""
        bad, self._undoing = self._undoing, None
        assert bad is not None
        if isinstance(result, Exception):
            self._account.event(now_ns, "no_step_back", _reason(result))
            return [Timer(RELOAD, now_ns + RELOAD_NS), *self._take_next(now_ns)]
        refusal = self._say(bad.policy.version, bad.digest, "refused", self.refused[bad.digest])
        return refusal + self._switch(now_ns, result, "policy_back") + self._take_next(now_ns)

    def _fetch(self, now_ns: int) -> Effects:
        if self._download is None or not self._open:
            return []
        fetches: Effects = [Send("cloud", fetch) for fetch in self._download.fetches()]
        return [*fetches, Timer(STALLED, now_ns + STALL_NS)]

    def _take_next(self, now_ns: int) -> Effects:
        offer, self._next = self._next, None
        return self.offer(now_ns, offer) if offer else []

    def _switch(self, now_ns: int, live: Live, event: str) -> Effects:
        self.live = live
        self._account.counts["policy_switches"] += 1
        self._account.event(now_ns, event, self.label)
        return self._status()

    def _bar(self, digest: str, reason: str) -> None:
        """Remembers a policy that is not to be tried again, and why."""
        self.refused[digest] = reason[:REASON_MAX]
        while len(self.refused) > REFUSED_MAX:
            del self.refused[next(iter(self.refused))]

    def _refuse(self, now_ns: int, offer: Offer, reason: str) -> Effects:
        self._account.counts["policies_refused"] += 1
        self._account.event(now_ns, "policy_refused", f"v{offer.version}: {reason}")
        return self._say(offer.version, offer.digest, "refused", reason)

    def _status(self) -> Effects:
        if self.live is None:
            return []
        return self._say(self.live.policy.version, self.live.digest, "active")

    def _say(self, version: int, digest: str, state: str, reason: str = "") -> Effects:
        if not self._open:
            return []
        status = PolicyStatus(
            node=self._node, version=version, digest=digest, state=state, reason=reason[:REASON_MAX]
        )
        return [Send("cloud", status)]


def _reason(error: Exception) -> str:
    """A short word, then the sentence."""
    if isinstance(error, ArtefactError):
        return str(error)
    word = "spec" if isinstance(error, SpecError) else type(error).__name__
    return f"{word}: {error}"
