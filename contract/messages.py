"""Messages: frozen, keyword-only, checked when made. Times are ns on the named host's clock."""

from math import isfinite

import msgspec
import numpy as np

from contract.errors import SpecError

PROTOCOL = 1
NAME_MAX = 128
"""Characters of a name that a peer gives itself; answers quote it."""


class Message(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """The root of everything that crosses a link; numpy fields travel as raw bytes."""


_INT_END = 2**63
_F4, _I8, _U1 = np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.uint8)


def _shape(
    owner: str, field: str, value: np.ndarray, dtype: np.dtype, ndim: int, rows: int = -1
) -> None:
    """Raises SpecError unless the array has this dtype, ndim and, unless -1, number of rows."""
    if value.dtype == dtype and value.ndim == ndim and rows in (-1, value.shape[0]):
        return
    want = ["*" if rows < 0 else rows, *["*"] * (ndim - 1)]
    raise SpecError(
        f"{owner}.{field}: expected {dtype}{want}, got {value.dtype}{list(value.shape)}"
    )


class Hello(Message, tag="hello", frozen=True, kw_only=True):
    """Opens a session (client to server), again after either side restarts."""

    node: str
    role: str
    boot: int
    software: str
    spec: str
    protocol: int = PROTOCOL

    def __post_init__(self) -> None:
        names = self.node, self.role, self.software, self.spec
        if max(map(len, names)) > NAME_MAX:
            raise SpecError(f"hello: a name of more than {NAME_MAX} characters")
        if not self.node or not all(map(str.isprintable, names)):
            raise SpecError("hello: a name that is empty or cannot be printed")


class Welcome(Message, tag="welcome", frozen=True, kw_only=True):
    """Accepts a Hello; `acked` is the highest segment below which everything is stored."""

    node: str
    boot: int
    acked: int


class Refused(Message, tag="refused", frozen=True, kw_only=True):
    """Ends a session; `final` says that trying again is of no use."""

    reason: str
    final: bool


class Beat(Message, tag="beat", frozen=True, kw_only=True):
    """Proof of life from client to server, at the declared rate."""

    seq: int
    sent_ns: int


class Echo(Message, tag="echo", frozen=True, kw_only=True):
    """Answers a Beat: its stamp, and the server's clock on receipt and on sending.

    With the client's receipt time these four give round trip and clock offset with its bound.
    """

    seq: int
    sent_ns: int
    received_ns: int
    echoed_ns: int


class Observation(Message, tag="observation", frozen=True, kw_only=True):
    """Features, float32[D], as the world was at `captured_ns` on the device's clock.

    With `ahead_ns` above 0 they are what the device then expected for that much later.
    """

    device: str
    boot: int
    seq: int
    captured_ns: int
    features: np.ndarray
    ahead_ns: int = 0

    def __post_init__(self) -> None:
        if self.features.dtype != _F4 or self.features.ndim != 1:
            _shape("observation", "features", self.features, _F4, 1)
        if self.ahead_ns < 0:
            raise SpecError(f"observation.ahead_ns: {self.ahead_ns} is negative")


class ActionChunk(Message, tag="action", frozen=True, kw_only=True):
    """Setpoints, float32[H, A], answering one observation.

    Row k is to be reached at anchor_ns + (k + 1) * period_ns; none may act after
    valid_until_ns (both on the device's clock). `ahead_ns` is the observation's. `held_ns`: time
    spent in the answering tier, of which `compute_ns` inside the engine for the whole batch, from
    `arrived_ns` on, by that tier's clock; 0 where no tier took it in.
    """

    device: str
    boot: int
    seq: int
    captured_ns: int
    period_ns: int
    valid_until_ns: int
    policy_version: int
    tier: str
    batch: int
    held_ns: int
    compute_ns: int
    actions: np.ndarray
    ahead_ns: int = 0
    arrived_ns: int = 0

    def __post_init__(self) -> None:
        if self.actions.dtype != _F4 or self.actions.ndim != 2:
            _shape("action", "actions", self.actions, _F4, 2)
        if self.period_ns <= 0 or self.valid_until_ns <= self.captured_ns:
            raise SpecError("action: period and validity must be positive")
        numbers = self.policy_version, self.batch, self.held_ns, self.compute_ns, self.arrived_ns
        if max(numbers) >= _INT_END:
            raise SpecError("action: a number past 63 bits")
        if self.ahead_ns < 0:
            raise SpecError(f"action.ahead_ns: {self.ahead_ns} is negative")

    @property
    def anchor_ns(self) -> int:
        """The instant whose state it answers, on the device's clock."""
        return self.captured_ns + self.ahead_ns


class Outcome(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One judged episode; `policy_version` is -1 if more than one version acted, or none."""

    number: int
    success: bool
    reason: str
    policy_version: int
    started_ns: int
    ended_ns: int


class Segment(Message, tag="segment", frozen=True, kw_only=True):
    """What a body lived through in N consecutive decisions, numbered without gaps in a boot.

    `features` float32[N, D]; `applied` float32[N, A], the setpoint really written at that
    decision; `captured_ns` int64[N]; `age_ns` int64[N], -1 where no action was in force;
    `versions` int64[N], policy version in force, -1 for none. `seam_rad`: mean disagreement of
    successive chunks about the same instant, a cheap sign of an unsure policy.
    `refused` counts refused chunks by reason.
    """

    device: str
    boot: int
    seq: int
    body: str
    software: str
    spec: str
    captured_ns: np.ndarray
    features: np.ndarray
    applied: np.ndarray
    age_ns: np.ndarray
    versions: np.ndarray
    seam_rad: float
    refused: dict[str, int]
    outcomes: tuple[Outcome, ...]

    def __post_init__(self) -> None:
        n = len(self.captured_ns)
        _shape("segment", "captured_ns", self.captured_ns, _I8, 1)
        _shape("segment", "features", self.features, _F4, 2, n)
        _shape("segment", "applied", self.applied, _F4, 2, n)
        _shape("segment", "age_ns", self.age_ns, _I8, 1, n)
        _shape("segment", "versions", self.versions, _I8, 1, n)


class Sealed(Message, tag="sealed", frozen=True, kw_only=True):
    """A segment packed once at the device: `body` is the codec's packing, uint8[n].

    `digest` is the first 8 bytes of its SHA-256 as an integer, checked at every store.
    """

    device: str
    boot: int
    seq: int
    digest: int
    body: np.ndarray
    deflated: bool = False

    def __post_init__(self) -> None:
        _shape("sealed", "body", self.body, _U1, 1)


class Stored(Message, tag="stored", frozen=True, kw_only=True):
    """Acknowledges segments, after the commit: all below `below`, and the listed ones above it."""

    device: str
    boot: int
    below: int
    also: tuple[int, ...] = ()


class Offer(Message, tag="offer", frozen=True, kw_only=True):
    """A released policy, to be fetched by digest."""

    version: int
    digest: str
    size: int
    parents: tuple[int, ...]
    rollback: bool = False


class Fetch(Message, tag="fetch", frozen=True, kw_only=True):
    """Asks for `length` bytes of an artefact."""

    digest: str
    offset: int
    length: int


class Part(Message, tag="part", frozen=True, kw_only=True):
    """Bytes of an artefact, uint8[n]."""

    digest: str
    offset: int
    data: np.ndarray

    def __post_init__(self) -> None:
        _shape("part", "data", self.data, _U1, 1)


class PolicyStatus(Message, tag="policy_status", frozen=True, kw_only=True):
    """What became of a policy on a node: staged, active, refused (with the reason)."""

    node: str
    version: int
    digest: str
    state: str
    reason: str = ""


class Event(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Something worth a line: `name` is a word, `detail` a sentence."""

    at_ns: int
    name: str
    detail: str = ""


class Report(Message, tag="report", frozen=True, kw_only=True):
    """What a process tells the roof, once a second.

    `counters` only grow (joules as `energy_j.<part>`); `gauges` are momentary.
    `decisions` int64[R, C], columns of contract/ledger.py; `lateness_ns` int64[K], one a tick.
    """

    process: str
    role: str
    boot: int
    at_ns: int
    counters: dict[str, float]
    gauges: dict[str, float]
    labels: dict[str, str]
    decisions: np.ndarray
    lateness_ns: np.ndarray
    outcomes: tuple[Outcome, ...]
    events: tuple[Event, ...]

    def __post_init__(self) -> None:
        numbers = (*self.counters.values(), *self.gauges.values())
        if not all(map(isfinite, numbers)):
            raise SpecError("report: a counter or a gauge that is no number")
        if not (0 <= self.boot < _INT_END and 0 <= self.at_ns < _INT_END):
            raise SpecError("report: a boot or a time past 63 bits")
        _shape("report", "decisions", self.decisions, _I8, 2)
        _shape("report", "lateness_ns", self.lateness_ns, _I8, 1)


ALL: tuple[type[Message], ...] = tuple(Message.__subclasses__())
