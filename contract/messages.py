"""Messages: frozen, keyword-only, checked when made. Times are ns on the named host's clock."""

from typing import Annotated, NamedTuple

import numpy as np
from msgspec import Meta, field

from tierloop.contract.bounds import (
    Array,
    Bounded,
    Count,
    Name,
    Real,
    Signed,
    Text,
    Unbounded,
    Version,
)
from tierloop.contract.errors import SpecError
from tierloop.contract.specs import FloatArray, PolicySpec

PROTOCOL = 1

Floats = Annotated[np.ndarray, Array("float32", 1)]
FloatRows = Annotated[np.ndarray, Array("float32", 2)]
Ints = Annotated[np.ndarray, Array("int64", 1)]
IntRows = Annotated[np.ndarray, Array("int64", 2)]
Bytes = Annotated[np.ndarray, Array("uint8", 1)]

ALSO_MAX = 512
"""Segments listed one by one in an acknowledgement; fits the stream's frame."""
PARENTS_MAX = 16
OUTCOMES_MAX = 256
TOLD_MAX = 4096
"""Events of a report. Tiers tell fewer (contract/account.py); the roof tells all it knows."""
REFUSED_MAX = 32
"""Reasons by which a segment counts what was refused."""
FIGURES_MAX = 1024
"""Counters, gauges and labels of a report, each."""


class Message(Bounded, frozen=True, kw_only=True, array_like=True, gc=False):
    """The root of everything that crosses a link; numpy fields travel as raw bytes."""


class Hello(Message, tag="hello", frozen=True, kw_only=True):
    """Opens a session (client to server), again after either side restarts."""

    node: Name
    role: Name
    boot: Unbounded
    software: Name
    spec: Name
    protocol: Count = PROTOCOL

    def _agree(self) -> None:
        names = self.node, self.role, self.software, self.spec
        if not self.node or not all(map(str.isprintable, names)):
            raise SpecError("hello: a name that is empty or cannot be printed")


class Welcome(Message, tag="welcome", frozen=True, kw_only=True):
    """Accepts a Hello; `acked` is the highest segment below which everything is stored."""

    node: Name
    boot: Count
    acked: Count


class Refused(Message, tag="refused", frozen=True, kw_only=True):
    """Ends a session; `final` says that trying again is of no use."""

    reason: Text
    final: bool


class Beat(Message, tag="beat", frozen=True, kw_only=True):
    """Proof of life from client to server, at the declared rate."""

    seq: Count
    sent_ns: Count


class Echo(Message, tag="echo", frozen=True, kw_only=True):
    """Answers a Beat: its stamp, and the server's clock on receipt and on sending.

    With the client's receipt time these four give round trip and clock offset with its bound.
    """

    seq: Count
    sent_ns: Count
    received_ns: Signed
    echoed_ns: Signed


class Observation(Message, tag="observation", frozen=True, kw_only=True):
    """Features, float32[D], as the world was at `captured_ns` on the device's clock.

    With `ahead_ns` above 0 they are what the device then expected for that much later.
    """

    device: Name
    boot: Count
    seq: Count
    captured_ns: Signed
    features: Floats
    ahead_ns: Count = 0


class ActionChunk(Message, tag="action", frozen=True, kw_only=True):
    """Setpoints, float32[H, A], answering one observation.

    Row k is to be reached at anchor_ns + (k + 1) * period_ns; none may act after
    valid_until_ns (both on the device's clock). `ahead_ns` is the observation's. `held_ns`: time
    spent in the answering tier, of which `compute_ns` inside the engine for the whole batch, from
    `arrived_ns` on, by that tier's clock; 0 where no tier took it in.
    """

    device: Name
    boot: Count
    seq: Count
    captured_ns: Signed
    period_ns: Count
    valid_until_ns: Signed
    policy_version: Version
    tier: Name
    batch: Count
    held_ns: Signed
    compute_ns: Signed
    actions: FloatRows
    ahead_ns: Count = 0
    arrived_ns: Signed = 0

    def _agree(self) -> None:
        if not self.period_ns or self.valid_until_ns <= self.captured_ns:
            raise SpecError("action: period and validity must be positive")

    @classmethod
    def answering(
        cls,
        observation: Observation,
        spec: PolicySpec,
        actions: FloatArray,
        policy_version: int,
        *,
        batch: int = 1,
        arrived_ns: int = 0,
        held_ns: int = 0,
        compute_ns: int = 0,
    ) -> "ActionChunk":
        """The edge's answer to an observation: `actions` float32[H, A], with its stamps.

        It is valid for the whole horizon of `spec`, from the capture on.
        """
        return cls(
            device=observation.device, boot=observation.boot, seq=observation.seq,
            captured_ns=observation.captured_ns, period_ns=spec.period_ns,
            valid_until_ns=observation.captured_ns + spec.validity_ns,
            policy_version=policy_version, tier="edge", batch=batch, held_ns=held_ns,
            compute_ns=compute_ns, actions=actions, ahead_ns=observation.ahead_ns,
            arrived_ns=arrived_ns,
        )  # fmt: skip

    @property
    def anchor_ns(self) -> int:
        """The instant whose state it answers, on the device's clock."""
        return self.captured_ns + self.ahead_ns


class Outcome(Bounded, frozen=True, kw_only=True, array_like=True, gc=False):
    """One judged episode; `policy_version` is -1 if more than one version acted, or none."""

    number: Count
    success: bool
    reason: Name
    policy_version: Version
    started_ns: Signed
    ended_ns: Signed


class SegmentId(NamedTuple):
    """Names a segment for good: the robot, the start of its process, the number within that."""

    device: str
    boot: int
    seq: int

    def __str__(self) -> str:
        return f"{self.device} boot {self.boot} segment {self.seq}"


class Segment(Message, tag="segment", frozen=True, kw_only=True):
    """What a device recorded in N consecutive decisions, numbered without gaps in a boot.

    `features` float32[N, D]; `applied` float32[N, A], the setpoint really written at that
    decision; `captured_ns` int64[N]; `age_ns` int64[N], -1 where no action was in force;
    `versions` int64[N], policy version in force, -1 for none. `seam_rad`: mean disagreement of
    successive chunks about the same instant, a cheap sign of an unsure policy.
    `refused` counts refused chunks by reason.
    """

    device: Name
    boot: Count
    seq: Count
    body: Name
    software: Name
    spec: Name
    captured_ns: Ints
    features: FloatRows
    applied: FloatRows
    age_ns: Ints
    versions: Ints
    seam_rad: Real
    refused: Annotated[dict[Name, Count], Meta(max_length=REFUSED_MAX)]
    outcomes: Annotated[tuple[Outcome, ...], Meta(max_length=OUTCOMES_MAX)]

    def _agree(self) -> None:
        n = len(self.captured_ns)
        for name in ("features", "applied", "age_ns", "versions"):
            value: np.ndarray = getattr(self, name)
            if len(value) != n:
                want, got = [n, *["*"] * (value.ndim - 1)], list(value.shape)
                raise SpecError(
                    f"segment.{name}: expected {value.dtype}{want}, got {value.dtype}{got}"
                )


class Sealed(Message, tag="sealed", frozen=True, kw_only=True):
    """A segment packed once at the device: `body` is the codec's packing, uint8[n].

    `digest` is the first 8 bytes of its SHA-256 as an integer, checked at every store.
    """

    device: Name
    boot: Count
    seq: Count
    digest: Count
    body: Bytes
    deflated: bool = False


class Stored(Message, tag="stored", frozen=True, kw_only=True):
    """Acknowledges segments, after the commit: all below `below`, and the listed ones above it."""

    device: Name
    boot: Count
    below: Count
    also: Annotated[tuple[Count, ...], Meta(max_length=ALSO_MAX)] = ()


class Offer(Message, tag="offer", frozen=True, kw_only=True):
    """A released policy, to be fetched by digest."""

    version: Count
    digest: Name
    size: Count
    parents: Annotated[tuple[Version, ...], Meta(max_length=PARENTS_MAX)]
    rollback: bool = False


class Fetch(Message, tag="fetch", frozen=True, kw_only=True):
    """Asks for `length` bytes of an artefact."""

    digest: Name
    offset: Count
    length: Count


class Part(Message, tag="part", frozen=True, kw_only=True):
    """Bytes of an artefact, uint8[n]."""

    digest: Name
    offset: Count
    data: Bytes


class PolicyStatus(Message, tag="policy_status", frozen=True, kw_only=True):
    """What became of a policy on a node: staged, active, refused (with the reason)."""

    node: Name
    version: Version
    digest: Name
    state: Name
    reason: Text = ""


class Event(Bounded, frozen=True, kw_only=True, array_like=True, gc=False):
    """Something worth a line: `name` is a word, `detail` a sentence."""

    at_ns: Count
    name: Name
    detail: Text = ""


class Report(Message, tag="report", frozen=True, kw_only=True):
    """What a process tells the roof, once a second.

    `counters` only grow (joules as `energy_j.<part>`); `gauges` are momentary.
    `decisions` int64[R, C], columns of contract/ledger.py; `lateness_ns` int64[K], one a tick;
    `ages_ns` int64[T, 2], a row for each tick in which an answer moved the body: the mean age, by
    share, of the observations that the setpoint answers, and the age of the oldest of them. That is
    the setpoint wished for; the guard may still be on the way to it.
    """

    process: Name
    role: Name
    boot: Count
    at_ns: Count
    counters: Annotated[dict[Name, Real], Meta(max_length=FIGURES_MAX)]
    gauges: Annotated[dict[Name, Real], Meta(max_length=FIGURES_MAX)]
    labels: Annotated[dict[Name, Text], Meta(max_length=FIGURES_MAX)]
    decisions: IntRows
    lateness_ns: Ints
    outcomes: Annotated[tuple[Outcome, ...], Meta(max_length=OUTCOMES_MAX)]
    events: Annotated[tuple[Event, ...], Meta(max_length=TOLD_MAX)]
    ages_ns: IntRows = field(default_factory=lambda: np.zeros((0, 2), np.int64))
