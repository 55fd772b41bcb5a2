"""A case: what a seed stands for. One random deployment with its bad day."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import numpy as np

from tierloop.cloud.config import CloudConfig, LearnerConfig
from tierloop.contract.clock import NS_PER_S
from tierloop.device.config import ActingConfig, ComputePower, DeviceConfig
from tierloop.edge.config import EdgeConfig
from tierloop.link.direction import DirectionSpec
from tierloop.link.spec import LinkSpec
from tierloop.sim.scenario import Scenario
from tierloop.stack.config.deployment import Deployment, resolve
from tierloop.stack.config.deployment_file import DeploymentFile, LinksConfig, RunConfig
from tierloop.stack.faults import kinds as f

Mode = Literal["safety", "liveness"]
PlantKind = Literal["analytic", "bullet"]

QUIET_S = 20.0
"""In liveness mode, how long after the last fault everything must have come right."""
_TARGETS = ("device", "edge", "cloud")


class Mishap(msgspec.Struct, frozen=True, kw_only=True):
    """What no fault of a timeline can do: to the policies at the edge."""

    kind: Literal["engine_fails", "policy_damaged"]
    """The engine of the policy in force fails from now on; or its file loses a bit while the edge
    is restarted."""
    at_s: float


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """All of it is data, so that it can be shrunk."""

    seed: int
    mode: Mode
    plant: PlantKind
    first: int
    """The version of the policy to begin with."""
    deployment: Deployment
    mishaps: tuple[Mishap, ...] = ()

    @property
    def until_ns(self) -> int:
        return round(self.deployment.run.duration_s * NS_PER_S)


def mode_of(seed: int, wanted: str) -> Mode:
    """With both modes wanted, even seeds are for safety, odd ones for liveness."""
    if wanted == "both":
        return "liveness" if seed % 2 else "safety"
    return "safety" if wanted == "safety" else "liveness"


def draw(seed: int, mode: Mode, plant: PlantKind) -> Case:
    """The case of a seed."""
    rng = np.random.default_rng([seed, mode == "liveness", plant == "bullet"])
    calm = mode == "liveness"
    faulty_s = float(rng.integers(8, 16) if calm else rng.integers(15, 40))
    if plant == "bullet":
        faulty_s = min(faulty_s, 12.0)
    scenario = _scenario(rng, plant)
    faults = _faults(rng, scenario, faulty_s)
    deployment = resolve(DeploymentFile(
        name=f"fuzz-{seed}",
        seed=seed,
        run=RunConfig(duration_s=faulty_s + QUIET_S if calm else faulty_s),
        scenario=scenario,
        device=_device(rng),
        edge=_edge(rng, calm),
        cloud=CloudConfig(ray="none"),
        learner=LearnerConfig(
            hidden=(4,), batch_size=64, steps_per_round=int(rng.integers(1, 400)), twin_episodes=1,
            min_lived=20, gate_episodes=int(rng.integers(2, 7)), gate_p=0.99,
            rounds_max=40,
        ),
        links=LinksConfig(device=_link(rng, calm), cloud=_link(rng, calm)),
        fault=faults,
    ))  # fmt: skip
    return Case(
        seed=seed, mode=mode, plant=plant, first=int(rng.integers(1, 10)), deployment=deployment,
        mishaps=_mishaps(rng, faulty_s, calm),
    )  # fmt: skip


def _scenario(rng: np.random.Generator, plant: PlantKind) -> Scenario:
    robots = tuple(f"arm-{i}" for i in range(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15])))
    control_hz = int(rng.choice([60, 120, 240]))
    common: dict[str, Any] = {
        "robots": robots,
        "decision_hz": int(rng.choice([5, 10, 20])),
        "horizon": int(rng.integers(3, 11)),
        "control_hz": control_hz,
    }
    if plant == "bullet":
        return Scenario(**common)
    return Scenario(
        task="reach", body="plant", physics_hz=control_hz,
        episode_s=float(rng.uniform(1.0, 5.0)), **common,
    )  # fmt: skip


def _device(rng: np.random.Generator) -> DeviceConfig:
    return DeviceConfig(
        compute=ComputePower(idle_w=3.0, busy_w=9.0),
        realtime=False,
        acting=ActingConfig(
            predict=bool(rng.random() < 0.3), blend_ms=float(rng.choice([0.0, 0.0, 40.0, 150.0]))
        ),
        hold_s=float(rng.choice([0.1, 0.3, 1.0, 3.0])),
        segment_decisions=int(rng.integers(2, 13)),
        backlog_segments=int(rng.choice([2, 4, 16, 512])),
    )


def _edge(rng: np.random.Generator, calm: bool) -> EdgeConfig:
    return EdgeConfig(
        batch_max=int(rng.choice([1, 2, 64])),
        batch_window_ms=float(rng.choice([0.0, 0.0, 2.0, 10.0])),
        deadline_ms=50.0 if calm else float(rng.choice([5.0, 50.0, 200.0])),
        uplink_bytes_per_s=0.0 if calm else float(rng.choice([0.0, 0.0, 500.0, 5000.0])),
        outbox_mb=256.0 if calm else float(rng.choice([0.002, 0.02, 256.0, 256.0])),
    )


def _link(rng: np.random.Generator, calm: bool) -> LinkSpec:
    """In liveness mode a link that is good enough once nothing is wrong with it."""
    kinds = ["none", "ethernet", "wifi", "5g"] + ([] if calm else ["lte", "satellite"])
    own: dict[str, Any] = {}
    worst = 0.05 if calm else 0.4
    for name, most in (("loss", worst / 2), ("duplicate", worst), ("reorder", worst)):
        if rng.random() < 0.3:
            own[name] = float(rng.uniform(0.0, most))
    if "reorder" in own:
        own["reorder_ms"] = float(rng.uniform(1.0, 50.0 if calm else 400.0))
    if not calm and rng.random() < 0.3:
        own["delay_ms"] = float(rng.uniform(0.0, 400.0))
    if rng.random() < 0.3:
        worse = DirectionSpec(
            loss=float(rng.uniform(0.0, worst)),
            delay_ms=float(rng.uniform(0.0, 20.0 if calm else 400.0)),
        )
        own[str(rng.choice(["up", "down"]))] = worse
    return LinkSpec(preset=str(rng.choice(kinds)), **own)  # type: ignore[arg-type]


def _mishaps(rng: np.random.Generator, faulty_s: float, calm: bool) -> tuple[Mishap, ...]:
    """In liveness mode one at most: two can take away the last policy there is."""
    kinds: tuple[Literal["engine_fails", "policy_damaged"], ...]
    kinds = ("engine_fails", "policy_damaged")
    drawn = tuple(
        Mishap(kind=kind, at_s=round(float(rng.uniform(3.0, faulty_s)), 2))
        for kind in kinds
        if rng.random() < 0.2
    )
    return drawn[:1] if calm else drawn


_Draw = Callable[[np.random.Generator, dict[str, Any]], f.Fault]

_KINDS: tuple[tuple[tuple[str, ...], _Draw], ...] = (
    (("device", "cloud"), lambda r, w: f.Partition(**w, direction=_directions(r))),
    (("device", "cloud"), lambda r, w: f.Loss(**w, loss=_unit(r), direction=_directions(r))),
    (("device", "cloud"),
     lambda r, w: f.Delay(**w, delay_ms=float(r.uniform(1, 800)), direction=_directions(r))),
    (("device", "cloud"), lambda r, w: f.Bandwidth(**w, bandwidth_mbps=float(r.uniform(0.01, 1)))),
    (("device", "cloud"), lambda r, w: f.Corrupt(**w, share=_unit(r), direction=_directions(r))),
    (("device", "cloud"), lambda r, w: f.Duplicate(**w, share=_unit(r), direction=_directions(r))),
    (_TARGETS, lambda _, w: f.Crash(**w)),
    (_TARGETS, lambda _, w: f.Crash(**w)),
    (("edge", "cloud"), lambda _, w: f.Hang(**w)),
    (("edge", "cloud"), lambda _, w: f.FullDisk(**w)),
    (("cloud",), lambda r, w: f.SlowLearner(**w, factor=float(r.uniform(2, 20)))),
    (_TARGETS, lambda r, w: f.ClockStep(
        at_s=w["at_s"], target=w["target"], step_ms=float(r.choice([3.0, 40.0, 700.0, 5000.0])))),
    (_TARGETS, lambda r, w: f.ClockDrift(**w, ppm=float(r.uniform(-2e5, 2e5)))),
    (("device",), lambda _, w: f.SensorFreeze(**w)),
    (("device",), lambda _, w: f.SensorDropout(**w)),
)  # fmt: skip


def _faults(rng: np.random.Generator, scenario: Scenario, faulty_s: float) -> f.Faults:
    drawn = []
    for _ in range(int(rng.integers(0, 7))):
        targets, make = _KINDS[int(rng.integers(len(_KINDS)))]
        target = str(rng.choice(targets))
        if target == "device" and rng.random() < 0.5:
            target = str(rng.choice(scenario.robots))
        at_s = float(rng.uniform(0.5, faulty_s - 0.6))
        for_s = float(min(rng.choice([0.2, 1.5, 4.0, 12.0]), faulty_s - at_s))
        drawn.append(
            make(rng, {"at_s": round(at_s, 2), "for_s": round(for_s, 2), "target": target})
        )
    return tuple(sorted(drawn, key=lambda fault: fault.at_s))


def _directions(rng: np.random.Generator) -> f.Directions:
    which: tuple[f.Directions, ...] = ("both", "up", "down")
    return which[int(rng.integers(3))]


def _unit(rng: np.random.Generator) -> float:
    return round(float(rng.choice([0.05, 0.3, 0.9]) * rng.uniform(0.5, 1.0)), 3)
