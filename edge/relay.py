"""The relay stores experience from devices on disk and forwards it to the cloud.

A segment is acknowledged after its commit, and deleted after the cloud's. One group is committed
at a time; what comes in meanwhile is the next group.
"""

from collections import Counter, deque
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tierloop.contract.account import Account
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.effects import Compute, Effects, Send, Timer
from tierloop.contract.messages import Sealed, SegmentId, Stored
from tierloop.edge import tables
from tierloop.edge.intake import Intake
from tierloop.edge.outbox import Outbox, Parcel, Standing

LANE = "disk"
LOAD, COMMIT, LEND, SETTLE = "relay.load", "relay.commit", "relay.lend", "relay.settle"
PACE, RETRY, RESEND = "relay.pace", "relay.retry", "relay.resend"

WAITING_MAX = 512
"""Segments that may wait for a commit; a device sends again what was dropped here."""

WAITING_BYTES, SHARE_BYTES = 32 * 2**20, 4 * 2**20
"""Bytes of them, in all and from one device."""

WINDOW = 32
"""Parcels under way to the cloud, not yet acknowledged."""

RECEIPTS_MAX = 256
"""Acknowledgements that may wait for the disk; beyond it the cloud is asked again."""

RETRY_NS = NS_PER_S
"""After the disk failed, reading and deleting are tried again this much later."""

RESEND_NS = 3 * NS_PER_S
"""A parcel not acknowledged for this long is sent again."""

HEADER_BYTES = 96
"""Allowance for a parcel's header and framing when the uplink is limited."""


class Flight(NamedTuple):
    """A parcel under way to the cloud, and when it was sent."""

    parcel: Parcel
    sent_ns: int


class Relay:
    """Stores and forwards. `below`: per boot, the number below which everything is committed."""

    def __init__(self, outbox: Outbox, uplink_bytes_per_s: float, account: Account) -> None:
        self._outbox, self._intake = outbox, Intake(outbox)
        self._account, self._counts = account, account.counts
        self._bytes_per_s = uplink_bytes_per_s
        self.below: dict[tuple[str, int], int] = {}
        self.standing = Standing(0, 0, 0)
        self.loaded = False
        self._open = False
        self._waiting: list[Sealed] = []
        self._held: Counter[str] = Counter()
        self._committing = False
        self._lending = False
        self._failing, self._read = "", False
        self._ready: deque[Parcel] = deque()
        self._flying: dict[SegmentId, Flight] = {}
        self._free_ns = 0
        self._receipts: list[Stored] = []
        self._settling: list[Stored] = []

    @property
    def in_flight(self) -> int:
        return len(self._flying)

    def start(self) -> Effects:
        return [Compute(LOAD, self._outbox.load, LANE)]

    def load_done(self, now_ns: int, result: Any) -> Effects:
        """Begins, with the outbox open or failed; if it failed, devices keep their segments."""
        self.loaded = True
        if isinstance(result, Exception):
            return self._failed(now_ns, result)
        self._read, self._failing = True, ""
        self.below, self.standing = dict(result.below), result.standing
        return self._forward(now_ns)

    def take(self, sealed: Sealed) -> Effects:
        """Takes a segment of a device whose session is open; it waits for its commit."""
        self._counts["segments_in"] += 1
        if sealed.deflated:
            self._counts["refused.misfit"] += 1
            return []
        size, held = len(sealed.body), self._held
        if len(self._waiting) >= WAITING_MAX or held.total() + size > WAITING_BYTES:
            self._counts["dropped.relay_full"] += 1
            return []
        if held[sealed.device] + size > SHARE_BYTES:
            self._counts["dropped.relay_share"] += 1
            return []
        held[sealed.device] += size
        self._waiting.append(sealed)
        return self._commit()

    def commit_done(self, now_ns: int, result: Any) -> Effects:
        """Acknowledges a group that is on disk; after a failure the devices send it again."""
        self._committing = False
        if isinstance(result, Exception):
            return self._failed(now_ns, result) + self._commit()
        self._failing = ""
        self._counts.update(result.counts)
        self.standing = result.standing
        self.below.update({(a.device, a.boot): a.below for a in result.acks})
        for boot in result.forgotten:
            self.below.pop(boot, None)
        acks: Effects = [Send(ack.device, ack) for ack in result.acks]
        return acks + self._commit() + self._forward(now_ns)

    def connected(self, now_ns: int) -> Effects:
        """Begins a session with the cloud: sends first what was not acknowledged."""
        self._open = True
        self._recall(list(self._flying))
        return self._forward(now_ns)

    def disconnected(self) -> None:
        self._open = False

    def lend_done(self, now_ns: int, result: Any) -> Effects:
        """Forwards the parcels that the outbox handed out."""
        self._lending = False
        if isinstance(result, Exception):
            return self._failed(now_ns, result)
        parcels, self.standing = result
        self._ready.extend(parcels)
        return self._forward(now_ns)

    def receipt(self, now_ns: int, stored: Stored) -> Effects:
        """Takes an acknowledgement of the cloud."""
        if len(self._receipts) >= RECEIPTS_MAX:
            self._counts["dropped.receipt"] += 1
            return []
        also = set(stored.also)

        def settled(name: SegmentId) -> bool:
            return name[:2] == (stored.device, stored.boot) and (
                name.seq < stored.below or name.seq in also
            )

        self._flying = {n: f for n, f in self._flying.items() if not settled(n)}
        self._ready = deque(p for p in self._ready if not settled(p.name))
        self._receipts.append(stored)
        return self._settle() + self._forward(now_ns)

    def settle_done(self, now_ns: int, result: Any) -> Effects:
        """Notes that the outbox deleted what the cloud has; after a failure it tries again."""
        receipts, self._settling = self._settling, []
        if isinstance(result, Exception):
            self._receipts = receipts + self._receipts
            return self._failed(now_ns, result)
        deleted, self.standing = result
        self._counts["forwarded"] += deleted
        return self._settle() + self._forward(now_ns)

    def on_timer(self, now_ns: int, name: str) -> Effects:
        if name == RESEND:
            return self._resend(now_ns)
        if not self._read:
            return self.start()
        return self._settle() + self._forward(now_ns)

    def _resend(self, now_ns: int) -> Effects:
        """Sends again what was not acknowledged for RESEND_NS; not while the cloud is gone."""
        if not self._open:
            return []
        self._recall([n for n, f in self._flying.items() if now_ns - f.sent_ns >= RESEND_NS])
        effects = self._forward(now_ns)
        if self._flying:
            first_ns = min(flight.sent_ns for flight in self._flying.values())
            effects.append(Timer(RESEND, first_ns + RESEND_NS))
        return effects

    def _commit(self) -> Effects:
        if self._committing or not self._waiting:
            return []
        group, self._waiting, self._committing = self._waiting, [], True
        self._held.clear()
        return [Compute(COMMIT, partial(self._intake.take, group), LANE, len(group))]

    def _settle(self) -> Effects:
        if self._settling or not self._receipts:
            return []
        self._settling, self._receipts = self._receipts, []
        settle = partial(self._outbox.settle, self._settling)
        return [Compute(SETTLE, settle, LANE, len(self._settling))]

    def _forward(self, now_ns: int) -> Effects:
        """Sends what may be sent now, and asks the outbox for more if there is room."""
        effects: Effects = []
        if not self._open:
            return effects
        while self._ready and now_ns >= self._free_ns:
            effects += self._send(now_ns, self._ready.popleft())
        room = WINDOW - len(self._flying) - len(self._ready)
        more = self.standing.unlent > 0 and room > 0 and not self._lending
        if (self._ready or more) and now_ns < self._free_ns:
            effects.append(Timer(PACE, self._free_ns))
        elif more:
            self._lending = True
            wanted = 1 if self._bytes_per_s else room
            effects.append(Compute(LEND, partial(self._outbox.lend, wanted), LANE))
        return effects

    def _send(self, now_ns: int, parcel: Parcel) -> Effects:
        name, size = parcel.name, len(parcel.body)
        message = Sealed(
            device=name.device,
            boot=name.boot,
            seq=name.seq,
            digest=parcel.digest,
            body=np.frombuffer(parcel.body, np.uint8),
            deflated=True,
        )
        self._counts["bytes_up"] += size
        if self._bytes_per_s:
            busy_ns = round((size + HEADER_BYTES) * NS_PER_S / self._bytes_per_s)
            self._free_ns = now_ns + busy_ns
        self._flying[name] = Flight(parcel, now_ns)
        effects: Effects = [Send("cloud", message)]
        if len(self._flying) == 1:
            effects.append(Timer(RESEND, now_ns + RESEND_NS))
        return effects

    def _recall(self, names: list[SegmentId]) -> None:
        """Puts parcels that were under way back to the front of the queue."""
        self._counts["resent"] += len(names)
        self._ready.extendleft(self._flying.pop(name).parcel for name in reversed(names))

    def _failed(self, now_ns: int, error: Exception) -> Effects:
        self._counts["outbox_failures"] += 1
        if tables.damaged(error):
            self._read = False
        words = f"{type(error).__name__}: {error}"
        if words != self._failing:
            self._failing = words
            self._account.event(now_ns, "outbox_failed", words)
        return [Timer(RETRY, now_ns + RETRY_NS)]
