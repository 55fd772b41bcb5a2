"""A clock that leaps: what nobody lived through costs nothing, and is counted."""

import pytest
from plant import PERIOD_NS, embodiment

from tierloop.contract.clock import NS_PER_S
from tierloop.device.config import DeviceConfig
from tierloop.device.node import LEAP_NS, DeviceNode


def lived(leap_ns: int, ticks: int = 240) -> dict[str, float]:
    robot = embodiment()
    node = DeviceNode("arm", 1, robot, DeviceConfig(), "test")
    now_ns = NS_PER_S
    node.on_start(now_ns)
    for tick in range(ticks):
        now_ns += PERIOD_NS + (leap_ns if tick == ticks // 2 else 0)
        setpoint, _ = node.on_tick(now_ns, robot.body.read(now_ns))
        robot.body.write(setpoint)
        node.on_written(now_ns)
    return node.report(now_ns).counters


@pytest.mark.parametrize("leap_s", [1, 600, 3600])
def test_a_leap_is_counted_and_costs_as_much_as_the_longest_pause(leap_s):
    plain, pause, leapt = lived(0), lived(LEAP_NS - PERIOD_NS), lived(leap_s * NS_PER_S)
    assert plain["clock_leap_s"] == pause["clock_leap_s"] == 0
    assert leapt["clock_leap_s"] == pytest.approx(leap_s + PERIOD_NS / NS_PER_S - 0.5)
    for name in ("energy_j.base", "battery.given_j"):
        assert plain[name] < pause[name]
        assert leapt[name] == pytest.approx(pause[name])


def test_the_parts_are_what_the_battery_gave_whatever_the_clock_does():
    counters = lived(3600 * NS_PER_S)
    parts_j = sum(j for name, j in counters.items() if name.startswith("energy_j."))
    assert parts_j == pytest.approx(counters["battery.given_j"], rel=1e-3)
