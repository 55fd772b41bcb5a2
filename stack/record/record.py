"""The record of a run in memory: the counts, samples and events of what the processes reported."""

from array import array
from collections import defaultdict, deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierloop.contract.bounds import MIXED
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.counters import ENERGY_J, members
from tierloop.contract.ledger import LEDGER
from tierloop.contract.messages import Report
from tierloop.contract.specs import PolicySpec
from tierloop.stack.record.damage import Damage
from tierloop.stack.record.histogram import Stretches
from tierloop.stack.record.tally import DecisionTally, LedgerRows, first_use_ns, round_trips_ns

LifeId = tuple[str, int]
"""A process and its boot."""

DEVICE = "device"
AGE, FIRST_USE, OLDEST, ROUND_TRIP, LATENESS = SAMPLED = (
    "age", "first_use", "oldest", "round_trip", "lateness",
)  # fmt: skip
"""Figures with a distribution, in ns. Age of action: at each tick that an answer moved the body,
the mean age, by share, of the observations that the setpoint answers; oldest: of the oldest of
them. First use: the age of an answer when it first acts."""
RECENT = 10
"""Reports of a device, one a second, over which recent figures are taken."""
ROOF = "roof"
"""The role of the supervisors' own reports.

Their events are what became of processes; each detail begins with the process it is about.
"""


class Life:
    """One start of one process: its last counters, and a tally of what it decided.

    `met_ns`: when it last said that it is in session with its server; before that, its first word.
    `recent_ns`: of its last RECENT reports, the age of action at each tick.
    """

    def __init__(self, report: Report, valid_ns: int) -> None:
        self.process, self.role, self.boot = report.process, report.role, report.boot
        self.first_ns = self.met_ns = report.at_ns
        self.first = self.last = report
        self.tally = DecisionTally(valid_ns)
        self.recent_ns: deque[LedgerRows] = deque(maxlen=RECENT)
        self.take(report)

    def take(self, report: Report) -> None:
        self.before, self.last = self.last, report
        if report.gauges.get("session") == 1:
            self.met_ns = report.at_ns
        if report.role == DEVICE:
            self.tally.take(report.decisions)
            self.recent_ns.append(report.ages_ns[:, 0].copy())  # not all of the report

    @property
    def watts(self) -> float:
        """What it drew between its last two reports."""
        elapsed_ns = self.last.at_ns - self.before.at_ns
        joules = energy_j(self.last.counters) - energy_j(self.before.counters)
        return joules / (elapsed_ns / NS_PER_S) if elapsed_ns > 0 else 0.0


def fits(report: Report) -> bool:
    """Whether its arrays have the columns of this version."""
    return (report.decisions.shape[1], report.ages_ns.shape[1]) == (len(LEDGER), 2)


def sampled(report: Report) -> dict[str, LedgerRows]:
    """A device's samples in one report, int64[n] each, by the names of SAMPLED."""
    rows, ages_ns = report.decisions, report.ages_ns
    trips_ns, late_ns = round_trips_ns(rows), report.lateness_ns
    values = ages_ns[:, 0], first_use_ns(rows), ages_ns[:, 1], trips_ns, late_ns
    return dict(zip(SAMPLED, values, strict=True))


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
    """Collects reports, in memory that does not grow with the length of the run.

    Times are on the monotonic clock of the one host that serves loopback. `spec` says how long an
    action is valid. `samples`: of each figure of SAMPLED, ns. `damaged`: what of the reports, and
    of the tiers' state, could not be read back from the disk.
    """

    def __init__(self, spec: PolicySpec) -> None:
        self._valid_ns = spec.validity_ns + spec.period_ns
        self.lives: dict[LifeId, Life] = {}
        self.happenings: list[Happening] = []
        self.damaged: list[Damage] = []
        self.samples = {name: Stretches() for name in SAMPLED}
        self._episodes: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        self._ended_ns, self._success = array("q"), bytearray()

    def take(self, report: Report) -> None:
        """Adds one report."""
        key = (report.process, report.boot)
        since_ns = report.at_ns - NS_PER_S
        if key in self.lives:
            since_ns = self.lives[key].last.at_ns
            self.lives[key].take(report)
        else:
            self.lives[key] = Life(report, self._valid_ns)
        for event in report.events:
            process, detail = report.process, event.detail
            if report.role == ROOF:
                process, _, detail = detail.partition(": ")
            self.happenings.append(Happening(event.at_ns, process, report.role, event.name, detail))
        for outcome in report.outcomes:
            tally = self._episodes[outcome.policy_version]
            tally[0] += 1
            tally[1] += outcome.success
            self._ended_ns.append(outcome.ended_ns)
            self._success.append(outcome.success)
        if report.role == DEVICE:
            for name, values in sampled(report).items():
                self.samples[name].add(since_ns, report.at_ns, values)

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

    def outcomes(self) -> tuple[LedgerRows, NDArray[np.bool_]]:
        """When each judged episode ended, int64[E], in order of time, and whether it succeeded."""
        ended_ns = np.array(self._ended_ns, np.int64)
        order = np.argsort(ended_ns, kind="stable")
        return ended_ns[order], np.array(self._success, bool)[order]

    def versions(self) -> list[Lived]:
        """What was lived under each policy version that ever acted, by version."""
        first_ns: dict[int, int] = {}
        for life in self.lives.values():
            for version, at_ns in life.tally.first_ns.items():
                first_ns[version] = min(first_ns.get(version, at_ns), at_ns)
        known = sorted({*first_ns, *self._episodes} - {MIXED})
        return [Lived(v, first_ns.get(v, 0), *self._episodes[v]) for v in known]

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
