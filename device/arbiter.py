"""The arbiter chooses what drives the body: the newest valid chunk, else hold, else stop."""

from collections import deque

import numpy as np

from tierloop.contract.clock import NS_PER_MS
from tierloop.contract.ledger import Refusal, Rung
from tierloop.contract.messages import ActionChunk
from tierloop.contract.specs import BodySpec, PolicySpec, Vector, finite
from tierloop.device.chunks import ChunkPlan, by_motion
from tierloop.device.config import ActingConfig
from tierloop.device.origin import Origin

REARM_CHUNKS = 3
"""Valid chunks in a row that end a controlled stop."""
PREMISE_RAD = 0.03
"""A premise has failed where a joint's setpoint will be this far from it."""
PARTED = 16
"""Ends of episodes that are kept: more than fit between two answers."""

_ACTING = ActingConfig()


class Arbiter:
    """Three modes, in this order: a chunk is in force, hold for `hold_ns`, controlled stop.

    A chunk is judged by its own capture time and validity on the device's clock, never by the
    state of the link. When the last chunk expires, the hold begins within one tick. The stop is
    of category 2 (at rest, drives powered) and ends only after REARM_CHUNKS valid chunks in a
    row.
    """

    def __init__(
        self,
        device: str,
        boot: int,
        spec: PolicySpec,
        body: BodySpec,
        hold_ns: int,
        acting: ActingConfig = _ACTING,
    ) -> None:
        self._device, self._boot, self._spec = device, boot, spec
        self._hold_ns = hold_ns
        self._at_arrival = acting.anchor == "arrival"
        self._fade = by_motion(body, round(acting.blend_ms * NS_PER_MS))
        self._plan: ChunkPlan | None = None
        self._last_seq = -1
        self._parted_ns: deque[int] = deque(maxlen=PARTED)
        self._held_since_ns: int | None = None
        self._armed = 0
        self._halted = False
        self.rung = Rung.HOLD
        self.origin: Origin | None = None
        """What the last setpoint chosen is made of; None if of no chunk."""
        self._chosen: ChunkPlan | None = None
        self._chosen_ns = 0
        self.seam_rad = 0.0

    @property
    def plan(self) -> ChunkPlan | None:
        """The plan in force, or None."""
        return self._plan

    @property
    def chunk(self) -> ActionChunk | None:
        """The chunk in force, or None."""
        return self._plan.chunk if self._plan is not None else None

    def offer(
        self, now_ns: int, chunk: ActionChunk, setpoint: Vector, premise: Vector | None = None
    ) -> Refusal:
        """Puts a chunk in force and returns Refusal.NONE, or returns why it is refused.

        `setpoint` float64[A] is the setpoint in force. `premise` float64[A] is where it was
        expected to be at the chunk's anchor when the question was asked. A chunk whose premise
        has failed is refused while the plan in force can go on for another period, unless that
        plan is of a withdrawn policy.
        """
        refusal = self._judge(now_ns, chunk)
        if refusal is not Refusal.NONE:
            if refusal is not Refusal.REORDERED:
                self._armed = 0
            return refusal
        self._last_seq = chunk.seq
        if self.rung is Rung.STOP:
            self._armed += 1
            if self._halted or self._armed < REARM_CHUNKS:
                return Refusal.STOPPED
        back = self._plan is not None and chunk.policy_version < self._plan.chunk.policy_version
        if premise is not None and not (back or self._leads_to(premise, now_ns, chunk.anchor_ns)):
            return Refusal.PREMISE
        anchor_ns = now_ns if self._at_arrival else chunk.anchor_ns
        before = None if back or self._parts(chunk) else self._plan
        parts = self._chosen.parts(self._chosen_ns) if self._chosen is not None else ()
        start = Origin.of(*parts) if parts else None
        plan = ChunkPlan(chunk, now_ns, setpoint, anchor_ns, before, self._fade, start)
        self.seam_rad = plan.seam_rad(self._plan) if self._plan is not None else 0.0
        self._plan = plan
        return Refusal.NONE

    def begin(self, seq: int) -> None:
        """Refuses answers to observations before `seq` from now on: another edge has taken over.

        A link that reorders may deliver an answer of the old edge after one of the new edge,
        which may use an older policy.
        """
        self._last_seq = max(self._last_seq, seq - 1)

    def part(self, at_ns: int) -> None:
        """Notes that an episode ended at `at_ns`: plans are not blended across that instant."""
        self._parted_ns.append(at_ns)

    def halt(self) -> None:
        """Begins a controlled stop that no chunk ends."""
        self._halted, self._plan, self.origin, self.rung = True, None, None, Rung.STOP

    def _parts(self, chunk: ActionChunk) -> bool:
        """Whether an episode ended between the capture of the plan in force and this chunk's."""
        seen_ns = chunk.captured_ns if self._plan is None else self._plan.chunk.captured_ns
        return any(seen_ns < parted_ns <= chunk.captured_ns for parted_ns in self._parted_ns)

    def _leads_to(self, premise: Vector, now_ns: int, anchor_ns: int) -> bool:
        plan = self._plan
        if plan is None or not plan.valid(now_ns + self._spec.period_ns):
            return True
        gap = plan.foreseen(max(anchor_ns, now_ns)) - premise
        return bool(np.abs(gap[:-1]).max() < PREMISE_RAD)

    def _judge(self, now_ns: int, chunk: ActionChunk) -> Refusal:
        if chunk.device != self._device or chunk.actions.shape != self._shape:
            return Refusal.WRONG_BODY
        if chunk.boot != self._boot:
            return Refusal.WRONG_BOOT
        if chunk.seq <= self._last_seq:
            return Refusal.REORDERED
        latest_ns = chunk.captured_ns + self._spec.validity_ns
        if chunk.period_ns != self._spec.period_ns or chunk.valid_until_ns > latest_ns:
            return Refusal.WRONG_BODY
        if chunk.anchor_ns > latest_ns:
            return Refusal.WRONG_BODY
        if now_ns > chunk.valid_until_ns or chunk.captured_ns > now_ns:
            return Refusal.EXPIRED
        return Refusal.NONE if finite(chunk.actions) else Refusal.NOT_FINITE

    @property
    def _shape(self) -> tuple[int, int]:
        return self._spec.horizon, self._spec.action.size

    def choose(self, now_ns: int) -> Vector | None:
        """Returns the setpoint wanted now, float64[A]; None means hold still."""
        if self._plan is not None and self._plan.valid(now_ns):
            self.rung, self._held_since_ns, self._armed = Rung.EDGE, None, 0
            wish = self._plan.at(now_ns)
            self._chosen, self._chosen_ns = self._plan, now_ns
            self.origin = self._plan.origin(now_ns)
            return wish
        self._plan = self._chosen = self.origin = None
        if self._held_since_ns is None:
            self._held_since_ns = now_ns
        if self.rung is not Rung.STOP:
            expired = now_ns - self._held_since_ns > self._hold_ns
            self.rung = Rung.STOP if expired else Rung.HOLD
        return None
