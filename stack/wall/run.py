"""One run: check, start, watch, stop, join the record."""

import fcntl
import os
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import msgspec
import numpy as np

from tierloop.contract.bounds import TEXT_MAX, cut
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.errors import UserError
from tierloop.contract.ledger import LEDGER, coded
from tierloop.contract.messages import Event, Report
from tierloop.contract.reading import reading
from tierloop.link.sockets import ReportSink, check_free
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.config.toml import leaves
from tierloop.stack.record import reports
from tierloop.stack.record.claim import Claim
from tierloop.stack.record.energy import MEASURED
from tierloop.stack.record.record import ROOF, Record
from tierloop.stack.record.reserve import Reserve
from tierloop.stack.wall.crashes import Nemesis
from tierloop.stack.wall.power_meters import Measured
from tierloop.stack.wall.processes import ROLES, table
from tierloop.stack.wall.supervisor import Supervisor
from tierloop.views.finish import DEPLOYMENT, PARTS, stored, write
from tierloop.views.terminal import Status, View

STEP_S = 0.05
SHOW_EVERY_NS = NS_PER_S // 4
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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


def check(deployment: Deployment, roles: Sequence[str], out: Path) -> None:
    """Raises UserError if a port is in use or `out` holds another run. Writes nothing."""
    check_folder(deployment, roles, out)
    links = deployment.links.placed(out)
    for role in roles:
        if address := ROLES[role].bind(links):
            check_free(address)


def check_folder(deployment: Deployment, roles: Sequence[str], out: Path) -> None:
    """Raises UserError if `out` cannot take the record of this run."""
    try:
        if out.exists() and not out.is_dir():
            raise UserError(f"{out}: not a folder; give another --out")
        draft = f".{DEPLOYMENT}."
        if not out.exists() or all(path.name.startswith(draft) for path in out.iterdir()):
            return
    except OSError as error:
        raise UserError(f"{out}: {error.strerror}; give another --out") from None
    _compare(out, deployment)
    for name in (name for role in roles for name in ROLES[role].names(deployment)):
        if (out / PARTS / f"{name}{reports.SUFFIX}").exists():
            raise UserError(
                f"{out}: already contains a run. Choose another --out (resuming is not supported)."
            )


def prepare(out: Path, deployment: Deployment) -> None:
    """Makes the record's folder, for this deployment alone. Raises UserError if that cannot be.

    Of several tiers that start at once the first to come says what is run.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = os.open(out, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if (out / DEPLOYMENT).exists():
                _compare(out, deployment)
            else:
                write(out / DEPLOYMENT, msgspec.json.encode(deployment))
        finally:
            os.close(folder)
        for name in ("logs", PARTS, "state"):
            (out / name).mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: {error.strerror}; give another --out") from None


def claim(deployment: Deployment, roles: Sequence[str], out: Path) -> Claim:
    """These tiers of a prepared folder, this run's alone while it lives. Raises UserError."""
    with reading(out, "give another --out"):
        held = Claim(out, roles)
    check_folder(deployment, roles, out)
    return held


def _compare(out: Path, deployment: Deployment) -> None:
    """Raises UserError, naming the first key that differs, if `out` is of another deployment."""
    try:
        other = stored(out)
    except UserError:
        raise UserError(f"{out}: not empty, and no record of a run; give another --out") from None
    if other != deployment:
        there, here = (dict(leaves(msgspec.to_builtins(one))) for one in (other, deployment))
        key = next(key for key in (*here, *there) if here.get(key) != there.get(key))
        differs = f"{'.'.join(key)} is {there.get(key)} there, {here.get(key)} here"
        raise UserError(f"{out}: the record of another deployment ({differs}); give another --out")


def reached(deployment: Deployment, elapsed_s: float, record: Record) -> bool:
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


class Run:
    """Supervises the processes of `roles` until the time, the goal, a signal or a mistake."""

    def __init__(
        self, deployment: Deployment, roles: tuple[str, ...], out: Path, view: View
    ) -> None:
        self._signals = Signals()
        self._deployment, self._view = deployment, view
        self._name = ROOF if set(roles) == set(ROLES) else f"{ROOF}-{'-'.join(roles)}"
        self._record = Record()
        self._events: list[Event] = []
        self._phase = "starting"
        self.lived_s = 0.0
        """How long it was before the stop, once it is over."""
        prepare(out, deployment)
        with ExitStack() as ends:
            ends.callback(claim(deployment, roles, out).close)
            self._parts = reports.Parts(out / PARTS)
            self._reserve = Reserve(out)
            ends.callback(self._reserve.free)
            self._sink = ReportSink()
            ends.callback(self._sink.close)
            self._start_ns = self._boot = time.monotonic_ns()
            self._report_ns = self._show_ns = self._start_ns
            processes = table(deployment, roles, out, self._sink.address, self._start_ns)
            self._ends = ends.pop_all()
        self._supervisor = Supervisor(processes, out / "logs", self._tell)
        self._known, self._foreign = {p.name: p.role for p in processes}, 0
        crash = self._supervisor.crash
        self._nemesis = Nemesis(deployment, list(self._known), self._start_ns, crash, self._tell)
        self._measured = Measured()

    @property
    def record(self) -> Record:
        """All that was reported, whatever the disk took of it."""
        return self._record

    @property
    def _elapsed_s(self) -> float:
        return (time.monotonic_ns() - self._start_ns) / NS_PER_S

    def until_end(self) -> str:
        """Runs to the end and stops everything. Why it ended: goal, time, signal, or mistake."""
        try:
            while not (why := self._ended()):
                self._nemesis.step(time.monotonic_ns())
                self._supervisor.step()
                self._turn(STEP_S)
        finally:
            self._phase, self.lived_s = "stopping", self._elapsed_s
            self._supervisor.stop(self._stopping)
        self._turn(STEP_S)
        self._reserve.free()
        self._report(ended=why)
        self._measured.close()
        self._ends.close()
        return why

    @property
    def lacks(self) -> bool:
        """Whether the parts on the disk are not all that was reported."""
        return bool(self._parts.lacks)

    @property
    def mistake(self) -> str:
        """What the process said that stopped for good."""
        child = self._supervisor.mistake
        return f"{child.process.name}: {child.last_line()}" if child else ""

    def _ended(self) -> str:
        if self._supervisor.mistake is not None:
            return "mistake"
        if self._signals.heard:
            return "signal"
        elapsed_s = self._elapsed_s
        if reached(self._deployment, elapsed_s, self._record):
            return "goal"
        return "time" if elapsed_s >= self._deployment.run.duration_s else ""

    def _turn(self, wait_s: float) -> None:
        for report in self._sink.poll(1000 * wait_s):
            self._hear(report)
        now_ns = time.monotonic_ns()
        if now_ns >= self._report_ns:
            self._report_ns = now_ns + NS_PER_S
            self._report()
        if now_ns >= self._show_ns:
            self._show_ns = now_ns + SHOW_EVERY_NS
            self._show()

    def _show(self) -> None:
        states = {child.process.name: child.state for child in self._supervisor.children}
        if self._phase == "starting" and all(state == "up" for state in states.values()):
            self._phase = "running"
        self._view.show(
            Status(
                self._deployment.name,
                self._phase,
                self._elapsed_s,
                self._deployment.run.duration_s,
                self._start_ns,
                states,
                self._record,
            )
        )

    def _stopping(self, wait_s: float) -> bool:
        self._turn(wait_s)
        return self._signals.heard > 1

    def _hear(self, report: Report) -> None:
        """Takes a report of a process of this table; any local process could send one."""
        columns = report.decisions.shape[1]
        known = self._known.get(report.process) == report.role and columns == len(LEDGER)
        if not (known and coded(report.decisions)):
            self._foreign += 1
            return
        self._parts.append(report)
        self._record.take(report)
        if report.gauges.get("session", 0) >= 0:  # refused for good, it was never there
            self._supervisor.heard(report.process)

    def _tell(self, process: str, name: str, detail: str) -> None:
        event = Event(
            at_ns=time.monotonic_ns(), name=name, detail=cut(f"{process}: {detail}", TEXT_MAX)
        )
        self._events.append(event)

    def _report(self, **labels: str) -> None:
        """The supervisor's own report: what it did to its processes."""
        for name, detail in self._parts.news():
            self._tell(self._name, name, detail)
        report = Report(
            process=self._name,
            role=ROOF,
            boot=self._boot,
            at_ns=time.monotonic_ns(),
            counters={
                "malformed": self._sink.malformed + self._foreign,
                **{f"{MEASURED}{meter}": j for meter, j in self._measured.joules().items()},
            },
            gauges={},
            labels=labels | self._parts.labels(),
            decisions=np.zeros((0, len(LEDGER)), np.int64),
            lateness_ns=np.zeros(0, np.int64),
            outcomes=(),
            events=tuple(self._events),
        )
        self._events.clear()
        self._parts.append(report)
        self._record.take(report)
