"""One run: check, start, watch, stop, join the record."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tierloop.contract.clock import NS_PER_S
from tierloop.contract.counters import MEASURED_J, member
from tierloop.contract.ledger import coded
from tierloop.contract.messages import Report
from tierloop.contract.poses import Poses
from tierloop.link.reports import ReportSink
from tierloop.link.sockets import check_free
from tierloop.sim.scenario import policy_spec
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.record import reports
from tierloop.stack.record.folder import PARTS, check_folder, claim, prepare
from tierloop.stack.record.poses import POSES
from tierloop.stack.record.record import DEVICE, ROOF, Happening, Record, fits
from tierloop.stack.record.reserve import Reserve
from tierloop.stack.record.roof import roof_report
from tierloop.stack.wall.crashes import Nemesis
from tierloop.stack.wall.power_meters import HostMeters
from tierloop.stack.wall.processes import ROLES, table
from tierloop.stack.wall.supervisor import Supervisor
from tierloop.stack.watch import Signals, Status, View, goal_reached

STEP_S = 0.05
SHOW_EVERY_NS = NS_PER_S // 4


def check_run(deployment: Deployment, roles: Sequence[str], out: Path) -> None:
    """Raises UserError if a port is in use or `out` holds another run. Writes nothing."""
    check_folder(out, deployment, deployment.processes(*roles))
    links = deployment.links.placed(out)
    for role in roles:
        if address := ROLES[role].bind(links):
            check_free(address)


class Run:
    """Supervises the processes of `roles` until the time, the goal, a signal or a mistake."""

    def __init__(
        self, deployment: Deployment, roles: tuple[str, ...], out: Path, view: View
    ) -> None:
        self._signals = Signals()
        self._deployment, self._view = deployment, view
        self._name = ROOF if set(roles) == set(ROLES) else f"{ROOF}-{'-'.join(roles)}"
        self._record = Record(policy_spec(deployment.scenario))
        self._events: list[Happening] = []
        self._phase = "starting"
        self.lived_s = 0.0
        """How long it was before the stop, once it is over."""
        prepare(out, deployment)
        with ExitStack() as ends:
            ends.callback(claim(out, deployment, roles).close)
            self._parts = reports.PartFiles(out / PARTS)
            self._poses = reports.PartFiles(out / PARTS, POSES, self._parts)
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
        self._nemesis = Nemesis(
            deployment.fault, deployment.scenario.robots, list(self._known), self._start_ns,
            crash, self._tell,
        )  # fmt: skip
        self._measured = HostMeters()

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
        if goal_reached(self._deployment, elapsed_s, self._record):
            return "goal"
        return "time" if elapsed_s >= self._deployment.run.duration_s else ""

    def _turn(self, wait_s: float) -> None:
        for heard in self._sink.poll(1000 * wait_s):
            if isinstance(heard, Report):
                self._hear(heard)
            else:
                self._see(heard)
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
        known = self._known.get(report.process) == report.role
        if not (known and fits(report) and coded(report.decisions)):
            self._foreign += 1
            return
        self._parts.append(report)
        self._record.take(report)
        if report.gauges.get("session", 0) >= 0:  # refused for good, it was never there
            self._supervisor.heard(report.process)

    def _see(self, poses: Poses) -> None:
        """Keeps the poses of a robot of this table."""
        if self._known.get(poses.process) == DEVICE:
            self._poses.append(poses)
        else:
            self._foreign += 1

    def _tell(self, process: str, name: str, detail: str) -> None:
        self._events.append(Happening(time.monotonic_ns(), process, ROOF, name, detail))

    def _report(self, **labels: str) -> None:
        """The supervisor's own report: what it did to its processes."""
        for name, detail in (*self._parts.news(), *self._poses.news()):
            self._tell(self._name, name, detail)
        counters = {
            "malformed": self._sink.malformed + self._foreign,
            **{member(MEASURED_J, meter): j for meter, j in self._measured.joules().items()},
        }
        report = roof_report(
            self._name, self._boot, time.monotonic_ns(), self._events, counters,
            labels | self._parts.labels() | self._poses.labels(),
        )  # fmt: skip
        self._events.clear()
        self._parts.append(report)
        self._record.take(report)
