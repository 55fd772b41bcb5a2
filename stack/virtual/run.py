"""One run on the virtual clock: live, watch, stop, leave the same record as a run on the wall."""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tierloop.cloud.backend import Cancelled
from tierloop.cloud.scratch import in_memory
from tierloop.contract.bounds import TEXT_MAX, cut
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.ledger import LEDGER
from tierloop.contract.messages import Event, Report
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.faults.kinds import Faults
from tierloop.stack.record import reports
from tierloop.stack.record.record import ROOF, Happening, Record
from tierloop.stack.record.reserve import Reserve
from tierloop.stack.virtual.faults import FaultyParts, schedule
from tierloop.stack.virtual.stack import VirtualStack
from tierloop.stack.wall.processes import ROLES
from tierloop.stack.wall.run import claim, prepare, reached
from tierloop.views.finish import PARTS, audited, conclude, join
from tierloop.views.terminal import Status, View

STEP_NS = 50 * NS_PER_MS
"""Simulated time between two looks at what a user wants."""

SHOW_EVERY_S = 0.25


def run_virtual(
    deployment: Deployment, seed: int, out: Path | None, faults: Faults | None = None
) -> dict[str, Any]:
    """The summary of a whole run; with `out` its record is left there.

    `faults` are instead of the deployment's own.
    """
    if faults is not None:
        deployment = msgspec.structs.replace(deployment, fault=faults)
    return VirtualRun(deployment, seed, out).to_the_end()[1]


class VirtualRun:
    """Lives through a deployment until the time, the goal or `stopped`."""

    def __init__(
        self,
        deployment: Deployment,
        seed: int,
        out: Path | None,
        view: View | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._deployment = msgspec.structs.replace(deployment, seed=seed)
        self._out, self._view, self._stopped = out, view, stopped
        self._record = Record()
        self._parts: reports.Parts | None = None
        self._told = 0
        self._report_ns = NS_PER_S
        self._began_s = self._shown_s = time.monotonic()
        self._now_ns = 0
        self._phase, self._states = "starting", dict[str, str]()

    @property
    def record(self) -> Record:
        """All that was reported, whatever the disk took of it."""
        return self._record

    def to_the_end(self) -> tuple[str, dict[str, Any]]:
        """Why it ended (goal, time or signal), and the summary.

        State lies in memory meanwhile where the host allows it, so that a disk's pace is none of
        the run's; it is moved to `out` at the end, as far as that takes it.
        """
        if self._out is not None:
            prepare(self._out, self._deployment)
            held = claim(self._deployment, tuple(ROLES), self._out)
            self._parts = reports.Parts(self._out / PARTS)
            reserve = Reserve(self._out)
        with closing(in_memory()) as scratch:
            place, seed = scratch.path, self._deployment.seed
            stack = VirtualStack(
                self._deployment,
                seed,
                place / "state",
                observers=[self._hear],
                wrappers=FaultyParts(self._deployment),
                pulse=self._pulse,
            )
            schedule(stack)
            with closing(stack):
                why = self._live(stack)
            if self._out is None or self._parts is None:
                return why, audited(self._record, self._deployment, place)
            unkept = _copied(place / "state", self._out / "state")
            reserve.free()
            held.close()
            if not unkept and not self._parts.lacks:
                return why, join(self._out)
            return why, conclude(self._out, self._deployment, self._record, place, unkept)

    @property
    def lived_s(self) -> float:
        """Simulated seconds before the stop."""
        return self._now_ns / NS_PER_S

    @property
    def speed(self) -> float:
        """Simulated seconds a second."""
        return self._now_ns / NS_PER_S / max(time.monotonic() - self._began_s, 1e-3)

    def _live(self, stack: VirtualStack) -> str:
        run = self._deployment.run
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
            elif reached(self._deployment, stack.now_ns / NS_PER_S, self._record):
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
        run, phase = self._deployment.run, f"{self._phase} at {self.speed:.1f}x real time"
        elapsed_s = self._now_ns / NS_PER_S
        self._view.show(
            Status(
                self._deployment.name,
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
        if self._parts is not None:
            fresh += [
                Happening(stack.now_ns, ROOF, ROOF, name, detail)
                for name, detail in self._parts.news()
            ]
            labels |= self._parts.labels()
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
    return Report(
        process=ROOF,
        role=ROOF,
        boot=0,
        at_ns=now_ns,
        counters={},
        gauges={},
        labels={"clock": "virtual", **labels},
        decisions=np.zeros((0, len(LEDGER)), np.int64),
        lateness_ns=np.zeros(0, np.int64),
        outcomes=(),
        events=tuple(
            Event(at_ns=h.at_ns, name=h.name, detail=cut(f"{h.process}: {h.detail}", TEXT_MAX))
            for h in fresh
        ),
    )
