"""Shrinks a case: drops and shortens faults, makes the deployment plainer, while it fails."""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from tierloop.device.config import ActingConfig, DeviceConfig
from tierloop.edge.config import EdgeConfig
from tierloop.fuzz.case import QUIET_S, Case
from tierloop.link.spec import LinkSpec
from tierloop.stack.config.deployment import Deployment

Fails = Callable[[Case], bool]

TRIALS_MAX = 80
"""Runs that shrinking may take."""


def shrink(case: Case, fails: Fails, runs: int = TRIALS_MAX) -> Case:
    """The plainest case found that `fails`, as `case` does."""
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(case):
            if runs == 0:
                return case
            runs -= 1
            if fails(smaller):
                case, progress = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    """Plainer cases, those that promise most first."""
    deployment, faults = case.deployment, case.deployment.fault
    if faults:
        yield _with(case, fault=())
    half = len(faults) // 2
    if half > 1:
        yield _with(case, fault=faults[:half])
        yield _with(case, fault=faults[half:])
    for i in range(len(faults)):
        yield _with(case, fault=faults[:i] + faults[i + 1 :])
    for i in range(len(case.mishaps)):
        yield replace(case, mishaps=case.mishaps[:i] + case.mishaps[i + 1 :])
    yield from _plainer(case)
    for i, fault in enumerate(faults):
        for_s = getattr(fault, "for_s", 0.0)
        if for_s > 0.2:
            shorter = replace(fault, for_s=round(for_s / 2, 2))
            yield _with(case, fault=(*faults[:i], shorter, *faults[i + 1 :]))
    least_s = max([1.0, *(f.end_ns / 1e9 for f in faults), *(m.at_s for m in case.mishaps)])
    least_s += QUIET_S if case.mode == "liveness" else 0.0
    shorter_s = round(max(least_s, deployment.run.duration_s / 2), 1)
    if shorter_s < deployment.run.duration_s:
        yield _with(case, run=replace(deployment.run, duration_s=shorter_s))


def _plainer(case: Case) -> Iterator[Case]:
    """One part at a time as a deployment has it by default."""
    deployment = case.deployment
    scenario, device, edge, links = (
        deployment.scenario, deployment.device, deployment.edge, deployment.links,
    )  # fmt: skip
    if len(scenario.robots) > 1:
        robots = scenario.robots[:1]
        kept = tuple(f for f in deployment.fault if f.target not in scenario.robots[1:])
        yield _with(case, scenario=replace(scenario, robots=robots), fault=kept)
    for side in ("device", "cloud"):
        if getattr(links, side) != LinkSpec():
            yield _with(case, links=replace(links, **{side: LinkSpec()}))
    if device.acting != ActingConfig():
        yield _with(case, device=replace(device, acting=ActingConfig()))
    for name in ("hold_s", "segment_decisions", "backlog_segments"):
        usual = getattr(DeviceConfig(), name)
        if getattr(device, name) != usual:
            yield _with(case, device=replace(device, **{name: usual}))
    for name in ("batch_max", "batch_window_ms", "deadline_ms", "uplink_bytes_per_s", "outbox_mb"):
        usual = getattr(EdgeConfig(), name)
        if getattr(edge, name) != usual:
            yield _with(case, edge=replace(edge, **{name: usual}))


def _with(case: Case, **changes: object) -> Case:
    deployment: Deployment = replace(case.deployment, **changes)
    return replace(case, deployment=deployment)
