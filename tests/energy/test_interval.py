"""The interval of the totals: against brute force, and how errors that go together add."""

from math import hypot
from typing import Any

import msgspec
import numpy as np
import pytest
from records import recorded

from tierloop.contract.body import Effort
from tierloop.contract.messages import Report
from tierloop.contract.specs import BodySpec
from tierloop.device.config import ComputePower, DeviceConfig
from tierloop.device.energy import BatteryConfig, Energy
from tierloop.device.meter import Meter
from tierloop.edge.config import EdgeConfig
from tierloop.sim.scenario import Scenario, body_spec
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile
from tierloop.stack.config.hardware import load
from tierloop.stack.record.audit import Audit
from tierloop.stack.record.energy import account, balanced
from tierloop.stack.record.invariants import invariants
from tierloop.stack.record.record import Life

BODY = body_spec(Scenario())
EMPTY = np.zeros((0, 30), np.int64)
PI = load("raspberry-pi-5")
COMPUTE = ComputePower(idle_w=PI.idle_w.value, busy_w=PI.busy_w.value)
PACK = BatteryConfig(series=7, parallel=1)


def lived(
    body: BodySpec = BODY,
    energy: Energy | None = None,
    compute: ComputePower = COMPUTE,
    busy: float = 0.4,
) -> Meter:
    """Twenty seconds of an arm that swings and talks, always the same, on these constants."""
    energy = energy or Energy()
    meter = Meter(body, DeviceConfig(energy=energy, compute=compute, battery=PACK))
    rng = np.random.default_rng(3)
    limit = np.array(BODY.torque_nm) / 4
    for tick in range(240 * 20):
        torque, velocity = rng.normal(0, limit), rng.normal(0, 0.8, 7)
        meter.tick(1 / 240, Effort.steady(torque, velocity, 1 / 240), float(tick % 960 < 300))
        if tick % 30 == 0:
            meter.sent(400)
            meter.received(200)
        if tick % 240 == 239:
            meter.busy_until(busy * (tick // 240 + 1))
    return meter


def counters(meter: Meter) -> dict[str, float]:
    found = {f"energy_j.{part}": j for part, j in meter.joules.items()}
    found |= {f"cause_j.{cause}": j for cause, j in meter.causes.items()}
    battery = meter.battery
    return found | {
        "battery.given_j": battery.given_j, "battery.unserved_j": battery.unserved_j,
    }  # fmt: skip


def report(process: str, role: str, values: dict[str, float], at_s: int = 1) -> Report:
    return Report(
        process=process, role=role, boot=1, at_ns=at_s * 10**9,
        counters=values, gauges={}, labels={}, decisions=EMPTY,
        lateness_ns=np.zeros(0, np.int64), outcomes=(), events=(),
    )  # fmt: skip


THERE = EdgeConfig(dedicated=True)


def told(*reports: Report, **tables: Any) -> dict[str, Any]:
    return account(recorded(reports), resolve(DeploymentFile(name="made-up", **tables)), 4)


def total(meter: Meter) -> float:
    return sum(meter.joules.values())


@pytest.fixture(scope="module")
def plain() -> Meter:
    return lived()


@pytest.fixture(scope="module")
def uncertain(plain: Meter) -> dict[str, list[float]]:
    return told(report("arm-0", "device", counters(plain)))["uncertain"]


STEP = 1e-3


def scaled(energy: Energy, *names: str) -> Energy:
    return msgspec.structs.replace(
        energy,
        **{
            name: msgspec.structs.replace(
                getattr(energy, name), value=getattr(energy, name).value * (1 + STEP)
            )
            for name in names
        },
    )


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("base_w", ["base_w"]),
        ("regulator_efficiency", ["regulator_efficiency"]),
        ("cell_r0_ohm", ["cell_r0_ohm"]),
        (
            "radio",
            [name for name in Energy.__struct_fields__ if getattr(Energy(), name).unit != "V"
             and getattr(getattr(Energy(), name), "group", "") == "radio"],
        ),
    ],
)  # fmt: skip
def test_a_constants_share_is_what_moving_it_does(plain, uncertain, group, names):
    moved_j = total(lived(energy=scaled(Energy(), *names))) - total(plain)
    expected_j = getattr(Energy(), names[0]).uncertainty * abs(moved_j) / STEP
    assert uncertain[group] == pytest.approx([expected_j] * 2, rel=0.02)


@pytest.mark.parametrize("name", ["cell_r1_ohm", "cell_c1_f"])
def test_the_rc_pairs_share_covers_what_moving_either_constant_does(plain, uncertain, name):
    moved_j = total(lived(energy=scaled(Energy(), name))) - total(plain)
    expected_j = getattr(Energy(), name).uncertainty * abs(moved_j) / STEP
    assert 0.0 < expected_j <= uncertain["cell RC pair"][0]


@pytest.mark.parametrize(
    ("group", "field"),
    [
        ("body copper", "copper_w_per_nm2"),
        ("body viscous", "viscous_w_s2"),
        ("body coulomb", "coulomb_w_s"),
        ("body drive", "drive_w"),
        ("body bus", "bus_share"),
        ("body switch", "switch_w"),
        ("body sensors", "sensors_w"),
    ],
)
def test_a_bodys_share_is_what_moving_its_constants_does(plain, uncertain, group, field):
    value = getattr(BODY, field)
    more = tuple(v * (1 + STEP) for v in value) if isinstance(value, tuple) else value * (1 + STEP)
    moved_j = total(lived(body=msgspec.structs.replace(BODY, **{field: more}))) - total(plain)
    relative = getattr(BODY.power_uncertainty, group.removeprefix("body "))
    assert relative > 0
    assert uncertain[group] == pytest.approx([relative * abs(moved_j) / STEP] * 2, rel=0.02)


def test_a_regeneration_of_nothing_has_an_upper_end(plain, uncertain):
    shipped = Energy().regeneration
    assert (shipped.value, shipped.below) == (0.0, 0.0)
    some = msgspec.structs.replace(shipped, value=STEP, most=None)
    moved_j = total(lived(energy=msgspec.structs.replace(Energy(), regeneration=some)))
    less_j = shipped.above * (total(plain) - moved_j) / STEP
    assert less_j > 1.0
    assert uncertain["regeneration"] == pytest.approx([less_j, 0.0], rel=0.03)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_profiles_times_widen_the_interval_by_their_factor(plain, uncertain, factor):
    assert PI.jobs.tick.factor == 2.0
    moved_j = total(lived(busy=0.4 * factor)) - total(plain)
    assert uncertain["raspberry-pi-5 times"][factor > 1] == pytest.approx(abs(moved_j), rel=0.02)


def test_no_computer_is_busy_for_longer_than_it_is_on():
    idle_j, busy_j = 4.6 * 1.0, 16.9 * 9.0
    edge = report("edge", "edge", {"energy_j.compute": idle_j + busy_j, "busy_s": 9.0})
    _, longer_j = told(edge, edge=THERE)["uncertain"]["orin-nx times"]
    assert longer_j == pytest.approx((16.9 - 4.6) * 1.0)


def test_a_shared_computer_is_charged_while_it_works_and_a_dedicated_one_at_rest_too():
    """Two reports ten seconds apart; it worked for six of them."""
    lived = [
        report("edge", "edge", {"energy_j.compute": 6 * 16.9, "busy_s": 6.0}, at_s)
        for at_s in (1, 11)
    ]
    found = told(*lived)
    assert "orin-nx idle" not in found["uncertain"]
    _, longer_j = found["uncertain"]["orin-nx times"]
    assert longer_j == pytest.approx(16.9 * 4.0), "no longer than it was on"
    assert (found["acting"], found["learning"]) == (101.4, 0.0)


@pytest.mark.parametrize("kind", ["idle_w", "busy_w"])
def test_a_computers_share_follows_its_profile_on_either_side(plain, uncertain, kind):
    figure = getattr(PI, kind)
    for side, watts in ((0, figure.low), (1, figure.high)):
        moved = lived(compute=msgspec.structs.replace(COMPUTE, **{kind: watts}))
        found = uncertain[f"raspberry-pi-5 {kind.removesuffix('_w')}"][side]
        assert found == pytest.approx(abs(total(moved) - total(plain)), rel=0.02)


def test_watts_of_the_deployments_own_count_as_exact(plain):
    own = DeviceConfig(compute=ComputePower(idle_w=2.0, busy_w=4.0))
    found = told(report("arm-0", "device", counters(plain)), device=own)["uncertain"]
    assert [n for n in found if n.startswith("raspberry")] == ["raspberry-pi-5 times"]


def test_independent_groups_add_in_squares(plain, uncertain):
    one = told(report("arm-0", "device", counters(plain)))
    low_j, high_j = one["interval"]
    assert one["total"] == pytest.approx(total(plain), abs=0.01)
    assert one["total"] - low_j == pytest.approx(
        hypot(*(d for d, _ in uncertain.values())), rel=1e-4
    )
    assert high_j - one["total"] == pytest.approx(
        hypot(*(u for _, u in uncertain.values())), rel=1e-4
    )
    assert one["per_success_interval"] == pytest.approx([low_j / 4, high_j / 4], abs=1e-3)
    assert list(uncertain.values()) == sorted(uncertain.values(), key=max, reverse=True)


def test_robots_are_wrong_together(plain, uncertain):
    two = told(*(report(f"arm-{i}", "device", counters(plain)) for i in range(2)))
    for group, sides in uncertain.items():
        assert two["uncertain"][group] == pytest.approx([2 * s for s in sides], rel=1e-3, abs=0.02)


def test_tiers_on_the_same_hardware_are_wrong_together():
    edge = report("edge", "edge", {"energy_j.compute": 46.0 + 24.6, "busy_s": 2.0})
    apart = told(edge, edge=THERE)["uncertain"]
    assert apart["orin-nx busy"] == pytest.approx([0.0, 2.0 * (29.0 - 16.9)])
    idle_s = (46.0 + 24.6 - 2 * 16.9) / 4.6
    assert apart["orin-nx idle"] == pytest.approx([idle_s * 0.6, idle_s * 1.4])
    from tierloop.cloud.config import CloudConfig

    cloud = report("cloud", "cloud", {"energy_j.compute": 46.0 + 24.6, "busy_s": 2.0})
    both = told(edge, cloud, edge=THERE, cloud=CloudConfig(hardware="orin-nx"))["uncertain"]
    assert both["orin-nx busy"] == pytest.approx([0.0, 4.0 * (29.0 - 16.9)])


def test_measured_joules_stand_apart(plain):
    roof = report("roof", "roof", {"measured_j.rapl.package-0": 12.5, "malformed": 0.0})
    one = told(report("arm-0", "device", counters(plain)), roof)
    assert one["measured"] == {"rapl.package-0": 12.5}
    assert one["total"] == pytest.approx(total(plain), abs=0.01)
    assert one["source"] == "model"


def test_the_runs_invariant_counts_lives_that_do_not_balance(plain):
    clean = Audit(stored=0, waiting=0, duplicate=0, missing=0, altered=0)
    good = counters(plain)
    bad = good | {"energy_j.radio": 1.1 * good["energy_j.radio"]}
    lives = [report(f"arm-{i}", "device", c) for i, c in enumerate((good, bad, bad))]
    found = invariants(recorded(lives), clean)
    assert found["energy_conserved"] == 2


def test_parts_that_do_not_sum_to_what_the_battery_gave_are_seen(plain):
    good = counters(plain)

    def judged(**changed: float) -> bool:
        return balanced(Life(report("arm-0", "device", good | changed), 1))

    assert judged()
    short_j = 0.002 * good["battery.given_j"]
    assert not judged(**{"energy_j.base": good["energy_j.base"] + short_j})
    assert not judged(**{"energy_j.battery": good["energy_j.battery"] - short_j})
    assert not judged(**{"battery.given_j": 0.0})
    assert judged(
        **{"energy_j.base": good["energy_j.base"] + short_j, "battery.unserved_j": short_j}
    )
    assert balanced(Life(report("arm-0", "device", {"energy_j.base": 5.0}), 1)), "no battery"
