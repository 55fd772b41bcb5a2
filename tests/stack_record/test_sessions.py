"""In session at the end: who is not though it could be, and who was never with anybody."""

import msgspec
import pytest
from records import recorded, report

from tierloop.sim.scenario import Scenario
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile
from tierloop.stack.faults.kinds import Crash, Partition, SensorFreeze
from tierloop.stack.record.record import ROOF
from tierloop.stack.record.sessions import alone, apart, silence

SITE = resolve(DeploymentFile(name="x", scenario=Scenario(robots=("arm-0", "arm-1"))))
END_S = 60
NAMES = ("arm-0", "arm-1", "edge", "cloud")


def life(name, *spans, start_s=1, end_s=END_S, boot=1):
    """A life whose reports are in session between these seconds."""
    role = name if name in ("edge", "cloud") else "device"
    return [
        report(name, role, t, boot, gauges={} if role == "cloud" else {
            "session": float(any(a <= t <= b for a, b in spans))
        })
        for t in range(start_s, end_s + 1)
    ]  # fmt: skip


def roof(end_s=END_S, *events):
    started = [(0.1, "started", f"{name}: start number 1") for name in NAMES]
    return [report(ROOF, ROOF, end_s + 1, 0, events=[*started, *events])]


def well(*but):
    """Everybody together, except those of these names."""
    return [r for name in NAMES if name not in but for r in life(name, (2, END_S))]


def found(*reports, faults=(), end_s=END_S, events=()):
    record = recorded([*(r for lives in reports for r in lives), *roof(end_s, *events)])
    return apart(record, msgspec.structs.replace(SITE, fault=tuple(faults)))


def test_all_are_together():
    assert found(well()) == []


@pytest.mark.parametrize("name", ["arm-0", "edge"])
def test_one_that_is_shut_out_is_named(name):
    assert found(well(name), life(name, (2, 50))) == [name]
    assert found(well(name), life(name)) == [name], "never"


def test_a_moment_out_of_session_is_not_judged():
    assert found(well("arm-0"), life("arm-0", (2, 56))) == []
    assert found(well("arm-0"), life("arm-0", (2, 54))) == ["arm-0"]


def test_one_that_has_just_begun_had_no_time():
    first = life("arm-0", (2, 30), end_s=50)
    assert found(well("arm-0"), first, life("arm-0", start_s=56, boot=2)) == []
    assert found(well("arm-0"), first, life("arm-0", start_s=54, boot=2)) == ["arm-0"]


def test_a_server_that_has_just_begun_had_no_time():
    earlier = life("cloud", end_s=40)
    edge = life("edge", (2, 41))
    assert found(well("edge", "cloud"), edge, earlier, life("cloud", start_s=56, boot=2)) == []
    lasting = life("cloud", start_s=50, boot=2)
    assert found(well("edge", "cloud"), edge, earlier, lasting) == ["edge"]


def test_a_server_that_is_down_is_waited_for_and_not_for_ever():
    assert found(well("edge", "cloud"), life("edge", (2, 50)), life("cloud", end_s=49)) == []
    assert found(well("edge", "cloud"), life("edge", (2, 30)), life("cloud", end_s=29)) == ["edge"]


def test_a_fault_of_the_timeline_covers_them_until_shortly_after_it():
    edge = [well("edge"), life("edge", (2, 30))]
    for seconds, expected in ((40, []), (27, []), (23, ["edge"])):
        cut = Partition(at_s=30, for_s=seconds, target="cloud")
        assert found(*edge, faults=[cut]) == expected
    assert found(*edge, faults=[Crash(at_s=30, for_s=40, target="cloud")]) == []
    assert found(*edge, faults=[Partition(at_s=30, for_s=40, target="device")]) == ["edge"]
    frozen = SensorFreeze(at_s=30, for_s=40, target="arm-0")
    assert found(well("arm-0"), life("arm-0"), faults=[frozen]) == ["arm-0"]


def test_a_robot_that_never_came_is_named():
    assert found(well("arm-1")) == ["arm-1"]
    late = report(ROOF, ROOF, 61, 0, events=[(50, "started", "arm-0: start number 1")])
    assert apart(recorded([*well("arm-0"), late]), SITE) == []
    assert apart(recorded([*well("arm-0")]), SITE) == [], "it runs elsewhere"


def test_one_whose_server_was_told_to_stop_first_is_not_judged():
    edge = life("edge", (2, 30))
    stopped = [(31, "stopped", "cloud: exit 0")]
    assert found(well("edge", "cloud"), edge, life("cloud", end_s=30), events=stopped) == []


def test_a_record_of_an_earlier_version_is_not_judged():
    assert apart(recorded([report("arm-0", "device", 9), *roof(9)]), SITE) == []


def test_who_was_never_with_anybody_is_alone():
    counters = {"link.welcome.sent": 1.0}
    reports = [
        report("edge", "edge", 1, counters=counters), report("edge", "edge", 9, boot=2),
        report("arm-0", "device", 9), *roof(9),
    ]  # fmt: skip
    assert alone(recorded(reports)) == ["arm-0", "arm-1", "cloud"], "two were never heard"


def test_the_last_thing_that_a_process_said_is_what_lasts():
    said = [(t, "silence", what) for t, what in ((2, "A"), (3, "B"), (4, "A"))]
    told = silence(recorded([report("edge", "edge", 9, events=said), *roof(9)]), ["edge"])
    assert [(one["said"], one["times"], one["lasting"]) for one in told] == [
        ("A", 2, True), ("B", 1, False),
    ]  # fmt: skip
