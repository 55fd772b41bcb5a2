"""Watching a run: its status, a view of it, signals to stop, whether its goal is reached."""

import signal
from types import FrameType
from typing import NamedTuple, Protocol

from tierloop.contract.clock import NS_PER_S
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.record.record import Record

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Status(NamedTuple):
    """A run at one instant; `states` is what each process of the table is doing."""

    title: str
    phase: str
    elapsed_s: float
    duration_s: float
    start_ns: int
    states: dict[str, str]
    record: Record


class View(Protocol):
    """Shows a run; `show` is called many times a second."""

    def show(self, status: Status) -> None: ...
    def close(self) -> None: ...


class Signals:
    """Counts requests to stop; from the second on, the next kills this process outright.

    That the terminal went away is none: the record is a run's duty, not the screen.
    """

    def __init__(self) -> None:
        self.heard = 0
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in _SIGNALS:
            signal.signal(number, self._hear)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self.heard += 1
        if self.heard > 1:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def goal_reached(deployment: Deployment, elapsed_s: float, record: Record) -> bool:
    """Whether the newest policy version succeeds as often as the run is to last for.

    Not before the last fault is over: a run that ends earlier tells nothing of it.
    """
    run, versions = deployment.run, record.versions()
    if not run.until_success or not versions:
        return False
    if any(elapsed_s * NS_PER_S < fault.end_ns for fault in deployment.fault):
        return False
    newest = versions[-1]
    return newest.episodes >= run.until_episodes and newest.rate >= run.until_success
