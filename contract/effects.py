"""What a node asks of its shell. A node is a state machine without I/O: it returns these."""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from tierloop.contract.messages import Message, Report
from tierloop.contract.policy import Work


class Send(msgspec.Struct, frozen=True):
    """Carry a message to a peer (a device's name, "edge" or "cloud")."""

    to: str
    message: Message


class Timer(msgspec.Struct, frozen=True):
    """Call `on_timer(now, name)` at `at_ns`; setting a name again moves it."""

    name: str
    at_ns: int


class Compute(msgspec.Struct, frozen=True):
    """Run `job` and hand its result to `on_done(now, name, result)`; an exception is the result.

    Jobs of one lane run in order, lanes side by side; the lane "" means at once, in line. On the
    virtual clock every job runs in line and its duration is charged from a profile, by its `rows`
    (records, observations, whatever the job is about) and, where a policy answers, by its `work`.
    """

    name: str
    job: Callable[[], Any]
    lane: str = ""
    rows: int = 1
    work: Work | None = None


Effect = Send | Timer | Compute
Effects = list[Effect]


class Node(Protocol):
    """One tier's behaviour. Nothing in it reads a clock, sleeps, draws randomness or opens a file.

    A server's node answers a Hello with a Welcome or a Refused; a client's node is handed the
    Welcome. Beats, echoes and retries stay in the link.
    """

    def on_start(self, now_ns: int) -> Effects:
        """Called once, first."""
        ...

    def on_message(self, now_ns: int, peer: str, message: Message) -> Effects:
        """A message of an open session, or the Hello or Welcome that opens one."""
        ...

    def on_lost(self, now_ns: int, peer: str) -> Effects:
        """A peer has been silent for longer than its declared rate allows."""
        ...

    def on_timer(self, now_ns: int, name: str) -> Effects:
        """A timer this node set is due."""
        ...

    def on_done(self, now_ns: int, name: str, result: Any) -> Effects:
        """A job this node asked for is finished, in any order across lanes."""
        ...

    def report(self, now_ns: int) -> Report:
        """What has happened since the last report; the shell asks once a second."""
        ...
