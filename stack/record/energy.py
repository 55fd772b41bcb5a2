"""The energy account of a run, in joules: by part, with its interval, and the batteries.

First order: an error of a constant moves the total in proportion to the joules that the constant
is behind (`cause_j.*`, device/meter.py). Constants of one group, all joints, all robots and the
whole run are wrong together, so their contributions add; groups are independent, so those add
in squares. Everything here has a half-width below and one above, at 95 %.
"""

from collections import defaultdict
from collections.abc import Iterator
from math import hypot, inf
from typing import Any, NamedTuple

from tierloop.contract.constants import Constant
from tierloop.contract.counters import CAUSE_J, ENERGY_J, MEASURED_J, members
from tierloop.device.meter import ENERGY_PARTS
from tierloop.sim.scenario import body_spec
from tierloop.stack.config import hardware
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.config.hardware import Power
from tierloop.stack.record.record import ROOF, Life, Record, energy_j

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
    """The summary's `energy_j`."""
    counters = record.counters("device")
    told = members(ENERGY_J, counters)
    device = {part: round(told.get(part, 0.0), 3) for part in ENERGY_PARTS}
    edge, cloud = (energy_j(record.counters(role)) for role in ("edge", "cloud"))
    total_j = sum(device.values()) + edge + cloud
    wide = _by_group(_shares(record, deployment))
    low_j = total_j - hypot(*(down for down, _ in wide.values()))
    high_j = total_j + hypot(*(up for _, up in wide.values()))
    widest = sorted(wide, key=lambda group: -max(wide[group]))
    interval = [round(max(low_j, 0.0), 3), round(high_j, 3)]
    measured = {
        meter: round(j, 3) for meter, j in members(MEASURED_J, record.counters(ROOF)).items()
    }
    return {
        "device": device,
        "edge": round(edge, 3),
        "cloud": round(cloud, 3),
        "total": round(total_j, 3),
        "interval": interval,
        "uncertain": {g: [round(side, 3) for side in wide[g]] for g in widest if max(wide[g])},
        "per_success": round(total_j / successes, 3) if successes else None,
        "per_success_interval": (
            [round(j / successes, 3) for j in interval] if successes else None
        ),
        "braking": round(members(CAUSE_J, counters).get("braking", 0.0), 3),
        "battery": batteries(record),
        "measured": measured,
        "source": "model",
    }


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
        }
        for life in record.of("device")
        if "battery.soc" in (gauges := life.last.gauges)
    }


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


def _by_group(shares: Iterator[Share]) -> dict[str, tuple[float, float]]:
    """Half-widths below and above by group; in a group, contributions add with their signs."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for share in shares:
        sums[share.group][0] += share.down_j
        sums[share.group][1] += share.up_j
    return {group: (abs(down), abs(up)) for group, (down, up) in sums.items()}


def _shares(record: Record, deployment: Deployment) -> Iterator[Share]:
    yield from _device(record.counters("device"), deployment)
    for role, tier in (("edge", deployment.edge), ("cloud", deployment.cloud)):
        counters = record.counters(role)
        busy_j = (tier.busy_w or 0.0) * counters.get("busy_s", 0.0)
        idle_j = energy_j(counters) - busy_j
        yield from _computer(role, tier.hardware, tier.idle_w, tier.busy_w, idle_j, busy_j)


def _computer(
    role: str,
    name: str,
    idle_w: float | None,
    busy_w: float | None,
    idle_j: float,
    busy_j: float,
) -> Iterator[Share]:
    """Of a hardware profile: its watts, and its times, by which it is busy for longer or shorter.

    Watts that the deployment states itself count as exact. The times of a role's jobs are wrong
    together, by the largest of their factors; no computer is busy for longer than it is on.
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
    most_j = (busy_w - idle_w) * idle_j / idle_w if idle_w else inf
    shorter_j, longer_j = (1.0 - 1.0 / factor) * work_j, (factor - 1.0) * work_j
    yield Share(f"{name} times", shorter_j, min(longer_j, most_j))


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
