"""The energy account of a run, in joules: by part, with its interval, and the batteries.

First order: an error of a constant moves the total in proportion to the joules that the constant
is behind (`cause_j.*`, device/meter.py). Constants of one group, all joints, all robots and the
whole run are wrong together, so their contributions add; groups are independent, so those add
in squares. Everything here has a half-width below and one above, at 95 %.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import hypot, inf
from typing import Any, NamedTuple

from tierloop.cloud.config import CloudConfig
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.constants import Constant
from tierloop.contract.counters import CAUSE_J, ENERGY_J, MEASURED_J, members
from tierloop.device.meter import ENERGY_PARTS
from tierloop.edge.config import EdgeConfig
from tierloop.sim.scenario import body_spec
from tierloop.stack.config import hardware
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.config.hardware import Power
from tierloop.stack.record.record import ROOF, Life, Record, energy_j

S_PER_H = 3600
TOLERANCE = 1e-3
"""How far, relatively, the parts may be from what the battery gave."""
FLOOR_J = 1e-3
"""Below this much energy nothing is judged."""
JOBS = {
    "device": ("tick",),
    "edge": ("infer", "install", "commit"),
    "cloud": ("fit", "twin", "install", "commit"),
}
"""What the computer of a tier is busy with, as its profile names it."""


class Share(NamedTuple):
    """What one constant may take from the total and add to it if it is as far off as it may be.

    Joules; signed where constants of one group pull against one another.
    """

    group: str
    down_j: float
    up_j: float


def account(record: Record, deployment: Deployment, successes: int) -> dict[str, Any]:
    """The summary's `energy_j`: who spent how much, and what for.

    Robots and edge act; the cloud learns. A success is charged for acting alone.
    """
    counters = record.counters("device")
    told = members(ENERGY_J, counters)
    device = {part: round(told.get(part, 0.0), 3) for part in ENERGY_PARTS}
    robots: dict[str, float] = defaultdict(float)
    for life in record.of("device"):
        robots[life.process] += energy_j(life.last.counters)
    edge, cloud = (energy_j(record.counters(role)) for role in ("edge", "cloud"))
    acts = [*_device(counters, deployment), *_server("edge", record, deployment.edge)]
    learns = [*_server("cloud", record, deployment.cloud)]
    acting_j = sum(robots.values()) + edge
    acting, learning = _interval(acting_j, acts), _interval(cloud, learns)
    wide = _by_group([*acts, *learns])
    widest = sorted(wide, key=lambda group: -max(wide[group]))
    measured = {
        meter: round(j, 3) for meter, j in members(MEASURED_J, record.counters(ROOF)).items()
    }
    return {
        "device": device,
        "robots": {name: round(j, 3) for name, j in sorted(robots.items())},
        "edge": round(edge, 3),
        "cloud": round(cloud, 3),
        "acting": round(acting_j, 3),
        "acting_interval": acting,
        "learning": round(cloud, 3),
        "learning_interval": learning,
        "total": round(acting_j + cloud, 3),
        "interval": _interval(acting_j + cloud, [*acts, *learns]),
        "uncertain": {g: [round(side, 3) for side in wide[g]] for g in widest if max(wide[g])},
        "per_success": round(acting_j / successes, 3) if successes else None,
        "per_success_interval": [round(j / successes, 3) for j in acting] if successes else None,
        "braking": round(members(CAUSE_J, counters).get("braking", 0.0), 3),
        "battery": batteries(record),
        "measured": measured,
        "source": "model",
    }


def _interval(joules: float, shares: Iterable[Share]) -> list[float]:
    wide = _by_group(shares)
    low_j = joules - hypot(*(down for down, _ in wide.values()))
    return [round(max(low_j, 0.0), 3), round(joules + hypot(*(up for _, up in wide.values())), 3)]


def batteries(record: Record) -> dict[str, Any]:
    """Each robot's battery at its last report."""
    return {
        life.process: {
            "soc": round(gauges["battery.soc"], 6),
            "voltage_v": round(gauges["battery.voltage_v"], 4),
            "lowest_v": round(gauges["battery.lowest_v"], 4),
            "given_j": round(life.last.counters["battery.given_j"], 3),
            "cut_out": bool(gauges["battery.cut_out"]),
            "cut_out_v": round(gauges.get("battery.cut_out_v", 0.0), 4) or None,
            "battery_h": _lasts_h(life),
        }
        for life in record.of("device")
        if "battery.soc" in (gauges := life.last.gauges)
    }


def _lasts_h(life: Life) -> float | None:
    """How long a full battery lasts at the mean rate of discharge of this life."""
    now = life.last.gauges["battery.soc"]
    spent = life.first.gauges.get("battery.soc", now) - now
    lived_s = (life.last.at_ns - life.first_ns) / NS_PER_S
    return round(lived_s / spent / S_PER_H, 3) if spent > 0 else None


def unbalanced(record: Record) -> int:
    """Lives of devices whose parts do not sum to what their battery gave."""
    return sum(not balanced(life) for life in record.of("device"))


def balanced(life: Life) -> bool:
    """Whether the parts, less what the battery could not give, sum to what it gave.

    What it gave follows from its state of charge alone. A life without a battery passes.
    """
    counters = life.last.counters
    if "battery.given_j" not in counters:
        return True
    given_j = counters["battery.given_j"]
    parts_j = energy_j(counters) - counters["battery.unserved_j"]
    return abs(parts_j - given_j) <= max(TOLERANCE * abs(given_j), FLOOR_J)


def _by_group(shares: Iterable[Share]) -> dict[str, tuple[float, float]]:
    """Half-widths below and above by group; in a group, contributions add with their signs."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for share in shares:
        sums[share.group][0] += share.down_j
        sums[share.group][1] += share.up_j
    return {group: (abs(down), abs(up)) for group, (down, up) in sums.items()}


def _server(role: str, record: Record, tier: EdgeConfig | CloudConfig) -> Iterator[Share]:
    counters = record.counters(role)
    busy_s = counters.get("busy_s", 0.0)
    busy_j = (tier.busy_w or 0.0) * busy_s
    up_s = sum(life.last.at_ns - life.first_ns for life in record.of(role)) / NS_PER_S
    idle_s, rest_w, rest_j = max(up_s - busy_s, 0.0), 0.0, 0.0
    if tier.dedicated and tier.idle_w:
        rest_w, rest_j = tier.idle_w, energy_j(counters) - busy_j
        idle_s = rest_j / rest_w
    yield from _computer(role, tier.hardware, rest_w, tier.busy_w, rest_j, busy_j, idle_s)


def _computer(
    role: str,
    name: str,
    idle_w: float | None,
    busy_w: float | None,
    idle_j: float,
    busy_j: float,
    idle_s: float,
) -> Iterator[Share]:
    """Of a hardware profile: its watts, and its times, by which it is busy for longer or shorter.

    `idle_w` is 0 where its rest does not count. Watts that the deployment states itself count as
    exact. The times of a role's jobs are wrong together, by the largest of their factors; no
    computer is busy for longer than it is on.
    """
    profile = hardware.load(name)
    for kind, figure, watts, joules in (
        ("idle", profile.idle_w, idle_w, idle_j),
        ("busy", profile.busy_w, busy_w, busy_j),
    ):
        if watts == figure.value:
            below, above = _relative(figure)
            yield Share(f"{name} {kind}", below * joules, above * joules)
    if idle_w is None or not busy_w:
        return
    factor = max(getattr(profile.jobs, job).factor for job in JOBS[role])
    work_j = busy_j * (1.0 - idle_w / busy_w)
    shorter_j, longer_j = (1.0 - 1.0 / factor) * work_j, (factor - 1.0) * work_j
    yield Share(f"{name} times", shorter_j, min(longer_j, (busy_w - idle_w) * idle_s))


def _relative(figure: Power) -> tuple[float, float]:
    return 1.0 - figure.low / figure.value, figure.high / figure.value - 1.0


def _device(counters: dict[str, float], deployment: Deployment) -> Iterator[Share]:
    energy, body = deployment.device.energy, body_spec(deployment.scenario)
    told = members(ENERGY_J, counters)
    part = {name: told.get(name, 0.0) for name in ENERGY_PARTS}
    cause = defaultdict(float, members(CAUSE_J, counters))
    loss_j, loads_j = part["battery"], sum(part.values()) - part["battery"]
    # The battery's loss goes with the square of the load.
    lossy = 1.0 + 2.0 * loss_j / loads_j if loads_j > 0 else 1.0
    logic = lossy / energy.regulator_efficiency.value
    joints = body.power_uncertainty
    tail = hypot(energy.radio_tail_w.uncertainty, energy.radio_tail_s.uncertainty)
    logic_j = part["compute"] + part["radio"] + part["sensing"] + part["base"]

    for name in ("copper", "viscous", "coulomb", "drive", "switch"):
        yield _even(f"body {name}", getattr(joints, name), lossy * cause[name])
    yield _even("body bus", joints.bus, lossy * cause["shared"])
    surplus_j = lossy * cause["braking"]
    back = energy.regeneration
    yield Share(back.group or "regeneration", back.above * surplus_j, back.below * surplus_j)
    yield _even("body sensors", joints.sensors, logic * part["sensing"])
    for share in _computer(
        "device", deployment.device.hardware, deployment.device.compute.idle_w,
        deployment.device.compute.busy_w, cause["compute_idle"], cause["compute_busy"],
        cause["compute_idle"] / (deployment.device.compute.idle_w or inf),
    ):  # fmt: skip
        yield Share(share.group, logic * share.down_j, logic * share.up_j)
    yield _of("base_w", energy.base_w, logic * part["base"])
    for name in ("idle_w", "send_j_per_frame", "send_j_per_byte", "receive_j_per_frame",
                 "receive_j_per_byte"):  # fmt: skip
        joules = cause[f"radio_{name.removesuffix('_w').replace('_j_per', '')}"]
        yield _of(f"radio_{name}", getattr(energy, f"radio_{name}"), logic * joules)
    yield _even("radio_tail", tail, logic * cause["radio_tail"])
    yield _of("regulator_efficiency", energy.regulator_efficiency, -logic * logic_j)
    yield _of("cell_r0_ohm", energy.cell_r0_ohm, lossy * cause["battery_r0"])
    # Heat in R1 or charge on C1, by the time: an upper bound of what either constant does.
    pair = max(energy.cell_r1_ohm.uncertainty, energy.cell_c1_f.uncertainty)
    yield _even("cell RC pair", pair, lossy * (loss_j - cause["battery_r0"]))
    yield _even("cell_ocv_v", energy.cell_ocv_v.uncertainty, -2.0 * lossy * loss_j)


def _even(group: str, uncertainty: float, joules: float) -> Share:
    return Share(group, uncertainty * joules, uncertainty * joules)


def _of(name: str, constant: Constant, joules: float) -> Share:
    return _even(constant.group or name, constant.uncertainty, joules)
