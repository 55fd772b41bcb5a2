"""One run on the virtual clock: live, watch, stop, leave the same record as a run on the wall."""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec

from tierloop.cloud.backend import Cancelled
from tierloop.cloud.scratch import in_memory
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.messages import Report
from tierloop.sim.scenario import policy_spec
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.config.deployment_file import TIERS
from tierloop.stack.faults.kinds import Faults
from tierloop.stack.record import reports
from tierloop.stack.record.folder import PARTS, audited, claim, prepare
from tierloop.stack.record.poses import POSES
from tierloop.stack.record.record import ROOF, Happening, Record
from tierloop.stack.record.reserve import Reserve
from tierloop.stack.record.roof import roof_report
from tierloop.stack.virtual.faults import FaultyParts, schedule
from tierloop.stack.virtual.stack import VirtualStack
from tierloop.stack.watch import Status, View, goal_reached

STEP_NS = 50 * NS_PER_MS
"""Simulated time between two looks at what a user wants."""

SHOW_EVERY_S = 0.25


def run_virtual(deployment: Deployment, seed: int, faults: Faults | None = None) -> dict[str, Any]:
    """The summary of a whole run, of which nothing is kept.

    `faults` are instead of the deployment's own.
    """
    if faults is not None:
        deployment = msgspec.structs.replace(deployment, fault=faults)
    with closing(VirtualRun(deployment, seed, None)) as run:
        run.to_the_end()
        return audited(run.record, run.deployment, run.state)


class VirtualRun:
    """Lives through a deployment until the time, the goal or `stopped`.

    With `out` the reports and the state of the tiers are left there; who made the run joins them.
    """

    def __init__(
        self,
        deployment: Deployment,
        seed: int,
        out: Path | None,
        view: View | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.deployment = msgspec.structs.replace(deployment, seed=seed)
        self._out, self._view, self._stopped = out, view, stopped
        self._record = Record(policy_spec(deployment.scenario))
        self._parts: reports.PartFiles | None = None
        self._poses: reports.PartFiles | None = None
        self._told = 0
        self._report_ns = NS_PER_S
        self._began_s = self._shown_s = time.monotonic()
        self._now_ns = 0
        self._phase, self._states = "starting", dict[str, str]()
        self._scratch = in_memory()
        self.unkept: tuple[str, ...] = ()
        """What of the tiers' state the disk did not take, in words."""

    @property
    def record(self) -> Record:
        """All that was reported, whatever the disk took of it."""
        return self._record

    @property
    def state(self) -> Path:
        """The folder that the tiers' state lies in; until `close`, if it is not `out`."""
        return self._scratch.path if self._out is None or self.unkept else self._out

    @property
    def lacks(self) -> bool:
        """Whether what `out` holds is not all that was reported or stored."""
        return bool(self.unkept or (self._parts is not None and self._parts.lacks))

    def to_the_end(self) -> str:
        """Why it ended: goal, time or signal.

        State lies in memory meanwhile where the host allows it, so that a disk's pace is none of
        the run's; it is moved to `out` at the end, as far as that takes it.
        """
        with ExitStack() as ends:
            if self._out is not None:
                prepare(self._out, self.deployment)
                held = claim(self._out, self.deployment, TIERS)
                ends.callback(held.close)
                self._parts = reports.PartFiles(self._out / PARTS)
                self._poses = reports.PartFiles(self._out / PARTS, POSES, self._parts)
                ends.callback(Reserve(self._out).free)
            place = self._scratch.path
            stack = VirtualStack(
                self.deployment,
                self.deployment.seed,
                place / "state",
                observers=[self._hear],
                wrappers=FaultyParts(self.deployment),
                pulse=self._pulse,
                poses=self._poses.append if self._poses else None,
            )
            schedule(stack)
            with closing(stack):
                why = self._live(stack)
            if self._out is not None:
                self.unkept = _copied(place / "state", self._out / "state")
        return why

    def close(self) -> None:
        """Lets go of the state that lies in memory."""
        self._scratch.close()

    @property
    def lived_s(self) -> float:
        """Simulated seconds before the stop."""
        return self._now_ns / NS_PER_S

    @property
    def speed(self) -> float:
        """Simulated seconds a second."""
        return self._now_ns / NS_PER_S / max(time.monotonic() - self._began_s, 1e-3)

    def _live(self, stack: VirtualStack) -> str:
        run = self.deployment.run
        end_ns, why = round(run.duration_s * NS_PER_S), ""
        while not why:
            stack.run(min(stack.now_ns + STEP_NS, end_ns))
            self._now_ns, self._phase = stack.now_ns, "running"
            self._states = {n: "up" if stack.alive(n) else "down" for n in stack.processes}
            if stack.now_ns >= self._report_ns:
                self._report_ns += NS_PER_S
                self._report(stack, {})
            self._show()
            if self._stopped():
                why = "signal"
            elif goal_reached(self.deployment, stack.now_ns / NS_PER_S, self._record):
                why = "goal"
            elif stack.now_ns >= end_ns:
                why = "time"
        self._phase = "stopping"
        stack.finish()
        self._report(stack, {"trace_sha256": stack.trace.hexdigest(), "ended": why})
        return why

    def _pulse(self) -> None:
        """Between two jobs of learning, which take long."""
        self._phase = "training"
        self._show()
        if self._stopped():
            raise Cancelled

    def _show(self) -> None:
        now_s = time.monotonic()
        if self._view is None or now_s < self._shown_s + SHOW_EVERY_S:
            return
        self._shown_s = now_s
        run, phase = self.deployment.run, f"{self._phase} at {self.speed:.1f}x real time"
        elapsed_s = self._now_ns / NS_PER_S
        self._view.show(
            Status(
                self.deployment.name,
                phase,
                elapsed_s,
                run.duration_s,
                0,
                self._states,
                self._record,
            )
        )

    def _hear(self, report: Report) -> None:
        self._record.take(report)
        if self._parts is not None:
            self._parts.append(report)

    def _report(self, stack: VirtualStack, labels: dict[str, str]) -> None:
        fresh, self._told = stack.events[self._told :], len(stack.events)
        for parts in filter(None, (self._parts, self._poses)):
            fresh += [
                Happening(stack.now_ns, ROOF, ROOF, name, detail) for name, detail in parts.news()
            ]
            labels |= parts.labels()
        self._hear(roof(stack.now_ns, fresh, labels))


def _copied(state: Path, out: Path) -> tuple[str, ...]:
    """Puts the tiers' state into the record, whole or not at all; what is to be said if not."""
    try:
        shutil.copytree(state, out, dirs_exist_ok=True)
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        first = error.args[0][0][-1] if isinstance(error, shutil.Error) else error.strerror
        return (f"state: {first}",)
    return ()


def roof(now_ns: int, fresh: Sequence[Happening], labels: dict[str, str]) -> Report:
    """The roof's own report: what became of the processes, and what is to be said of the run."""
    return roof_report(ROOF, 0, now_ns, fresh, {}, {"clock": "virtual", **labels})
