"""The record of a run in memory: everything that the processes reported."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierloop.contract.clock import NS_PER_S
from tierloop.contract.counters import ENERGY_J, members
from tierloop.contract.ledger import INDEX, LEDGER
from tierloop.contract.messages import Outcome, Report
from tierloop.stack.record.damage import Damage

LedgerRows = NDArray[np.int64]

LifeId = tuple[str, int]
"""A process and its boot."""

ROOF = "roof"
"""The role of the supervisors' own reports.

Their events are what became of processes; each detail begins with the process it is about.
"""


class Life:
    """One start of one process: its last counters, and all it reported.

    `met_ns`: when it last said that it is in session with its server; before that, its first word.
    """

    def __init__(self, report: Report) -> None:
        self.process, self.role, self.boot = report.process, report.role, report.boot
        self.first_ns = self.met_ns = report.at_ns
        self.last = report
        self.decisions: list[LedgerRows] = []
        self.lateness_ns: list[tuple[int, LedgerRows]] = []
        self.outcomes: list[Outcome] = []
        self.take(report)

    def take(self, report: Report) -> None:
        self.before, self.last = self.last, report
        if report.gauges.get("session") == 1:
            self.met_ns = report.at_ns
        if len(report.decisions):
            self.decisions.append(report.decisions)
        if len(report.lateness_ns):
            self.lateness_ns.append((report.at_ns, report.lateness_ns))
        self.outcomes.extend(report.outcomes)

    @property
    def watts(self) -> float:
        """What it drew between its last two reports."""
        elapsed_ns = self.last.at_ns - self.before.at_ns
        joules = energy_j(self.last.counters) - energy_j(self.before.counters)
        return joules / (elapsed_ns / NS_PER_S) if elapsed_ns > 0 else 0.0


def energy_j(counters: dict[str, float]) -> float:
    """All joules that a set of counters names."""
    return sum(members(ENERGY_J, counters).values())


class Happening(NamedTuple):
    """An event, the process it is about, and the role that tells of it."""

    at_ns: int
    process: str
    role: str
    name: str
    detail: str


class Lived(NamedTuple):
    """What the bodies lived through under one policy version."""

    version: int
    live_ns: int
    episodes: int
    successes: int

    @property
    def rate(self) -> float:
        return self.successes / self.episodes if self.episodes else 0.0


class Record:
    """Collects reports. Times are on the monotonic clock of the one host that serves loopback.

    `damaged`: what of them, and of the tiers' state, could not be read back from the disk.
    """

    def __init__(self) -> None:
        self.lives: dict[LifeId, Life] = {}
        self.happenings: list[Happening] = []
        self.damaged: list[Damage] = []
        self._episodes: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        self._live_ns: dict[int, int] = {}

    def take(self, report: Report) -> None:
        """Adds one report."""
        key = (report.process, report.boot)
        if key in self.lives:
            self.lives[key].take(report)
        else:
            self.lives[key] = Life(report)
        for event in report.events:
            process, detail = report.process, event.detail
            if report.role == ROOF:
                process, _, detail = detail.partition(": ")
            self.happenings.append(Happening(event.at_ns, process, report.role, event.name, detail))
        for outcome in report.outcomes:
            tally = self._episodes[outcome.policy_version]
            tally[0] += 1
            tally[1] += outcome.success
        self._note_versions(report.decisions)

    def _note_versions(self, rows: LedgerRows) -> None:
        acted = rows[rows[:, INDEX["applied_ns"]] > 0] if len(rows) else rows
        for version in np.unique(acted[:, INDEX["policy_version"]]) if len(acted) else ():
            first = acted[acted[:, INDEX["policy_version"]] == version, INDEX["applied_ns"]].min()
            known = self._live_ns.get(int(version), int(first))
            self._live_ns[int(version)] = min(known, int(first))

    def of(self, role: str) -> list[Life]:
        """The lives of a role, in the order in which they were first heard."""
        return [life for life in self.lives.values() if life.role == role]

    def counters(self, role: str | None = None) -> dict[str, float]:
        """Counters summed over the lives of a role, or of all but the roof."""
        total: dict[str, float] = defaultdict(float)
        for life in self.lives.values():
            if life.role == role or (role is None and life.role != ROOF):
                for name, value in life.last.counters.items():
                    total[name] += value
        return dict(total)

    def newest(self) -> dict[str, Life]:
        """The newest life of each process, by name; the supervisors' own reports are none."""
        lives = sorted(self.lives.values(), key=lambda life: life.boot)
        return {life.process: life for life in lives if life.role != ROOF}

    def decisions(self) -> LedgerRows:
        """The ledger, int64[R, C], all devices one after the other."""
        return _stack([d for life in self.of("device") for d in life.decisions])

    def lateness_ns(self) -> LedgerRows:
        """How late each tick of each device came, int64[K], second by second."""
        told = [piece for life in self.of("device") for piece in life.lateness_ns]
        pieces = [late for _, late in sorted(told, key=lambda piece: piece[0])]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)

    def outcomes(self) -> list[Outcome]:
        """Every judged episode of every device, by the time it ended."""
        outcomes = [o for life in self.of("device") for o in life.outcomes]
        return sorted(outcomes, key=lambda outcome: outcome.ended_ns)

    def versions(self) -> list[Lived]:
        """What was lived under each policy version that ever acted, by version."""
        known = sorted({*self._live_ns, *self._episodes} - {-1})
        return [Lived(v, self._live_ns.get(v, 0), *self._episodes[v]) for v in known]

    def span_ns(self) -> tuple[int, int]:
        """When the first supervisor began, which its boot says, and when the last one ended."""
        roofs = self.of(ROOF)
        return min((r.boot for r in roofs), default=0), max(
            (r.last.at_ns for r in roofs), default=0
        )

    def label(self, name: str, otherwise: str | None = None) -> str | None:
        """What the run's supervisor said of it last under this name."""
        said = [roof.last.labels[name] for roof in self.of(ROOF) if name in roof.last.labels]
        return said[-1] if said else otherwise

    def ledgers(self) -> Iterator[tuple[Life, LedgerRows]]:
        """Each device life with its own rows."""
        for life in self.of("device"):
            yield life, _stack(life.decisions)


def _stack(pieces: list[LedgerRows]) -> LedgerRows:
    return np.concatenate(pieces) if pieces else np.zeros((0, len(LEDGER)), np.int64)
