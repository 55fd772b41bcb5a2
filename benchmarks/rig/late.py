"""Lives through parts with answers that come late: one arm, its own node, a link, a taught policy.

On a clock turned by hand: what is asked goes up a modelled link, is answered at once, and the
answer comes down again; nothing else differs between cases, which meet the same parts.
"""

import argparse
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.counters import LIMIT, member
from tierloop.contract.ledger import INDEX
from tierloop.contract.specs import Vector
from tierloop.device.config import ActingConfig, DeviceConfig
from tierloop.device.unlinked import Unlinked
from tierloop.link.spec import LinkSpec
from tierloop.policy.artefact import unpack
from tierloop.policy.engine import load
from tierloop.sim.embody import embody
from tierloop.sim.scenario import Scenario
from tierloop.stack.twin import EdgeService

EPISODES_A_CELL = 25
REPORT_NS = 10 * NS_PER_S
"""A report holds the decisions of so long, and fewer than fit into one."""


class ActingCase(NamedTuple):
    """A way of acting behind a link, and a belt whose speed swings by a share."""

    acting: ActingConfig
    link: LinkSpec = LinkSpec()
    belt_swing: float = 0.0


class LateCell(NamedTuple):
    """Some episodes of a case in one cell; `policy` is the number of the artefact that acts."""

    case: ActingCase
    policy: int
    episodes: int
    seed: int


class LivedCase(NamedTuple):
    """What came of episodes.

    `ages_ms` float64[N, 2]: at each tick moved by answers, their mean age by share and the oldest;
    `first_use_ms` float64[M]: of the answers that acted; `seams_rad` float64[K]: between a chunk
    and the one before; `limited`: ticks at which the guard changed a setpoint for a joint's
    acceleration, of `ticks`; `behind_rad` float64[T]: how far the setpoint written is from the one
    wished, mean of the joints, at each tick moved by answers.
    """

    reasons: tuple[str, ...]
    successes: int
    ages_ms: Vector
    first_use_ms: Vector
    seams_rad: Vector
    limited: float
    ticks: int
    actuation_j: float
    behind_rad: Vector

    @property
    def episodes(self) -> int:
        return len(self.reasons)


def live(cell: LateCell, blobs: Sequence[bytes]) -> LivedCase:
    """Lives through a cell's episodes."""
    policy, case = load(unpack(blobs[cell.policy])), cell.case
    scenario = Scenario(horizon=policy.spec.horizon, belt_swing=case.belt_swing)
    robot = embody(scenario, cell.seed)
    device = Unlinked("arm", 1, robot, DeviceConfig(acting=case.acting), "benchmark")
    edge = EdgeService(case.link, (0.0, 0.0), 0, cell.seed)
    node, period_ns = device.node, robot.body.spec.control_period_ns
    judged: list[tuple[bool, str]] = []
    seams: list[float] = []
    behind: list[float] = []
    reports = []
    now_ns = ticks = 0
    while len(judged) < cell.episodes:
        now_ns, ticks = now_ns + period_ns, ticks + 1
        for at_ns, _, answered, rows in edge.arrived(now_ns):
            device.answer(at_ns, answered, rows, policy.version)
            if node.arbiter.chunk is not None and node.arbiter.chunk.seq == answered.seq:
                seams.append(node.arbiter.seam_rad)
        asked = device.tick(now_ns)
        judged += [(episode.success, episode.reason) for episode in device.reading.outcomes]
        if (plan := node.arbiter.plan) is not None:
            behind.append(np.abs(plan.at(now_ns) - node.guard.setpoint)[:-1].mean())
        if asked is not None:
            edge.ask(now_ns, asked, policy.act(asked.features[np.newaxis])[0])
        if now_ns // REPORT_NS > (now_ns - period_ns) // REPORT_NS:
            reports.append(node.report(now_ns))
    robot.body.close()
    last = node.report(now_ns, last=True)
    reports.append(last)
    decisions = np.concatenate([report.decisions for report in reports])
    acted = decisions[decisions[:, INDEX["applied_ns"]] > 0]
    del judged[cell.episodes :]
    return LivedCase(
        tuple(reason for _, reason in judged),
        sum(success for success, _ in judged),
        np.concatenate([report.ages_ns for report in reports]) / NS_PER_MS,
        (acted[:, INDEX["applied_ns"]] - acted[:, INDEX["captured_ns"]]) / NS_PER_MS,
        np.array(seams),
        last.counters[member(LIMIT, "acceleration")],
        ticks,
        node.meter.joules["actuation"],
        np.array(behind),
    )


def arguments(doc: str) -> argparse.ArgumentParser:
    """What every command asks for that compares cases."""
    parser = argparse.ArgumentParser(description=doc.split("\n\n")[0])
    parser.add_argument(
        "--policy", type=Path, nargs="+", required=True, help="artefacts of the sorting cell"
    )
    parser.add_argument(
        "--episodes", type=int, default=18, help="episodes a point, of all policies"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes that live through them")
    return parser


def cells(case: ActingCase, policies: int, episodes: int) -> Iterator[LateCell]:
    """A case's episodes, split among policies and cells; each case has the same parts."""
    for policy in range(policies):
        mine = episodes // policies + (policy < episodes % policies)
        for first in range(0, mine, EPISODES_A_CELL):
            seed = policy * 1000 + first
            yield LateCell(case, policy, min(EPISODES_A_CELL, mine - first), seed)


def live_all(
    cases: Iterable[ActingCase],
    blobs: Sequence[bytes],
    episodes: int,
    jobs: int,
    screen: Console | None,
) -> dict[ActingCase, LivedCase]:
    """What came of so many episodes of each case, with progress on `screen`."""
    wanted = [cell for case in cases for cell in cells(case, len(blobs), episodes)]
    found: dict[ActingCase, list[LivedCase]] = {}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        lived: Iterable[LivedCase] = pool.map(live, wanted, [blobs] * len(wanted))
        if screen is not None:
            lived = track(lived, "Living", len(wanted), console=screen, transient=True)
        for cell, what in zip(wanted, lived, strict=True):
            found.setdefault(cell.case, []).append(what)
    return {case: _together(parts) for case, parts in found.items()}


def _together(parts: list[LivedCase]) -> LivedCase:
    return LivedCase(
        tuple(reason for part in parts for reason in part.reasons),
        sum(part.successes for part in parts),
        np.concatenate([part.ages_ms for part in parts]),
        np.concatenate([part.first_use_ms for part in parts]),
        np.concatenate([part.seams_rad for part in parts]),
        sum(part.limited for part in parts),
        sum(part.ticks for part in parts),
        sum(part.actuation_j for part in parts),
        np.concatenate([part.behind_rad for part in parts]),
    )
