"""Poses for pictures: noted beside a run, which they do not touch; kept and read as reports are."""

import signal
from contextlib import closing
from functools import partial

import numpy as np
import pytest
import virtual_plants
from records import deployment as arms
from records import report
from test_full_disk import Unseen, room

from tierloop.contract.errors import SpecError
from tierloop.contract.ledger import LEDGER
from tierloop.contract.messages import Hello, Report
from tierloop.contract.poses import PlacedObject, Poses, SceneObject
from tierloop.contract.streams import DEPTH
from tierloop.device.config import DeviceConfig
from tierloop.device.main import ControlLoop
from tierloop.device.node import DeviceNode
from tierloop.link.channel import Client
from tierloop.link.reports import ReportSink, ReportSource
from tierloop.link.sockets import ClientSocket
from tierloop.sim.embody import embody
from tierloop.sim.scenario import Scenario, body_spec
from tierloop.sim.tasks.sort import layout as lay
from tierloop.stack.config.deployment_file import RecordConfig, RunConfig
from tierloop.stack.faults.kinds import SensorFreeze
from tierloop.stack.pose_tap import tapped
from tierloop.stack.record.damage import Damage
from tierloop.stack.record.poses import POSES, Frame, frames
from tierloop.stack.record.reports import PartFiles
from tierloop.stack.virtual.run import VirtualRun
from tierloop.stack.wall.run import Run
from tierloop.views.finish import join

PLANT = Scenario(task="reach", body="plant", robots=("p-0",))
PERIOD_NS = body_spec(PLANT).control_period_ns


def poses(at_ns: int, n: int = 2, process: str = "arm-0") -> Poses:
    return Poses(
        process=process, boot=1, at_ns=at_ns,
        frame_ns=np.arange(at_ns - n + 1, at_ns + 1),
        joints_rad=np.full((n, 7), at_ns, np.float32), tool=np.ones((n, 2), np.float32),
        objects=(SceneObject(name="part 1", kind="disc", shape="cylinder", size_m=(0.03, 0.02)),),
        placed=np.array([[n - 1, 0, 1, 2, 3, 0, 0, 0, 1]], np.float32),
    )  # fmt: skip


def live(out, deployment):
    """Keeps a whole run on the virtual clock in `out`; its summary."""
    with closing(VirtualRun(deployment, 7, out)) as run:
        run.to_the_end()
    return join(out)


def test_a_run_of_an_arm_keeps_where_the_arm_and_the_parts_were(tmp_path):
    deployment = arms("learner.rounds_max=0", "run.duration_s=2.5", 'scenario.robots=["arm-0"]')
    summary = live(tmp_path / "a", deployment)
    found = list(frames(tmp_path / "a" / "parts", "arm-0"))
    assert all(isinstance(frame, Frame) for frame in found)
    at_ns = np.array([frame.at_ns for frame in found])
    step_ns = 8 * body_spec(deployment.scenario).control_period_ns
    assert set(np.diff(at_ns).tolist()) == {step_ns}, "30 Hz of a loop at 240"
    assert at_ns[-1] > 2.4e9
    assert (tmp_path / "a" / "parts" / "arm-0.poses").stat().st_size < 2700 * at_ns[-1] / 1e9
    joints = np.array([frame.joints_rad for frame in found])
    assert joints.shape[1] == 7
    assert 0 < np.abs(np.diff(joints, axis=0)).max() < 0.2
    parts = [frame.placed[0] for frame in found[1:]]
    assert {part.solid.name for part in parts} == {"part 1"}
    assert parts[0].solid.kind in lay.KINDS
    assert parts[0].position_m[0] == pytest.approx(lay.BELT_X_M, abs=0.05)
    moved_m = np.diff([part.position_m[1] for part in parts[10:]])
    assert (moved_m * 1e9 / step_ns).mean() == pytest.approx(0.1, abs=0.06), "the belt's speed"
    assert np.linalg.norm(parts[-1].orientation) == pytest.approx(1, abs=1e-5)
    without = live(
        tmp_path / "b", replaced(deployment, record=RecordConfig(poses_hz=0, ledger=False))
    )
    assert without["trace_sha256"] == summary["trace_sha256"], "poses leave a run as it was"
    assert (summary["left_out"], without["left_out"]) == ([], ["poses", "ledger"])
    assert (tmp_path / "a" / "ledger.parquet").exists()
    assert not (tmp_path / "b" / "ledger.parquet").exists()
    assert not list((tmp_path / "b" / "parts").glob("*.poses"))
    assert list(frames(tmp_path / "b" / "parts", "arm-0")) == []


def replaced(one, **fields):
    return type(one)(**{n: getattr(one, n) for n in one.__struct_fields__} | fields)


def test_bodies_without_a_scene_are_their_joints(tmp_path):
    live(tmp_path, virtual_plants.deployment(2, run=RunConfig(duration_s=3)))
    for robot in ("p-0", "p-1"):
        found = list(frames(tmp_path / "parts", robot))
        assert len(found) == pytest.approx(90, abs=20)
        assert {frame.joints_rad.shape for frame in found} == {(2,)}
        assert not any(frame.placed for frame in found)
    assert (tmp_path / "parts" / "p-0.poses").stat().st_size < 3 * 1200


class Still:
    """A body of a user's own, which knows nothing of scenes; it counts its calls."""

    def __init__(self) -> None:
        body, self.calls = embody(PLANT, 1).body, []
        self.spec = body.spec
        for name in ("tool_position", "read", "write", "hold", "close"):
            setattr(self, name, partial(self._call, name, getattr(body, name)))

    def _call(self, name, method, *arguments):
        self.calls.append(name)
        return method(*arguments)


@pytest.mark.parametrize(("hz", "ticks"), [(30, 8), (50, 4), (200, 1), (240, 1), (1, 240)])
def test_every_so_many_ticks_at_least_as_often_as_asked(hz, ticks):
    robot, taken = tapped(embody(PLANT, 1), "p-0", 1, hz)
    for tick in range(500):
        robot.body.read(5 + tick * PERIOD_NS)
    at_ns = np.concatenate([noted.frame_ns for noted in taken()])
    assert at_ns.tolist() == [5 + n * ticks * PERIOD_NS for n in range(-(-500 // ticks))]
    assert taken() == []


def test_a_late_loop_falls_back_into_the_grid():
    robot, taken = tapped(embody(PLANT, 1), "p-0", 1, 30)
    for tick in (0, 1, 2, 11, 12, 15, 16, 17, 24):
        robot.body.read(tick * PERIOD_NS)
    (noted,) = taken()
    assert (noted.frame_ns // PERIOD_NS).tolist() == [0, 11, 16, 24]


def test_the_tap_hands_on_every_call_and_adds_none():
    body, plain = Still(), embody(PLANT, 1)
    robot, taken = tapped(plain._replace(body=body), "p-0", 1, 240)
    tap = robot.body
    expected = embody(PLANT, 1).body
    for tick in range(3):
        mine, other = tap.read(tick * PERIOD_NS), expected.read(tick * PERIOD_NS)
        assert mine.position_rad.tolist() == other.position_rad.tolist()
        tap.write(np.array([0.4, -0.2, 1.0]))
        expected.write(np.array([0.4, -0.2, 1.0]))
    assert tap.hold().tolist() == expected.hold().tolist()
    tap.close()
    assert body.calls == ["read", "write"] * 3 + ["hold", "close"]
    (noted,) = taken()
    assert noted.tool.tolist() == [[0, 0], [1, 0], [1, 0]]


def test_without_poses_there_is_no_tap():
    plain = embody(PLANT, 1)
    robot, taken = tapped(plain, "p-0", 1, 0)
    assert robot is plain
    assert list(taken()) == []


def test_what_is_of_no_frame_or_no_object_is_no_message():
    good = poses(9)
    for row in ([2, 0], [0, 1], [-1, 0], [float("nan"), 0]):
        with pytest.raises(SpecError, match="of no frame"):
            replaced(good, placed=np.array([[*row, *[0] * 7]], np.float32))
    with pytest.raises(SpecError, match="2 frames"):
        replaced(good, tool=np.zeros((1, 2), np.float32))
    with pytest.raises(SpecError, match="9"):
        replaced(good, placed=np.zeros((1, 8), np.float32))


def test_frames_come_back_as_they_were(tmp_path):
    PartFiles(tmp_path, POSES).append(poses(9))
    empty, last = frames(tmp_path, "arm-0")
    assert (empty.at_ns, empty.boot, empty.switch, empty.holding) == (8, 1, 1.0, True)
    assert (empty.placed, last.at_ns, last.joints_rad.tolist()) == ((), 9, [9.0] * 7)
    assert last.placed == (PlacedObject(poses(9).objects[0], (1, 2, 3), (0, 0, 0, 1)),)


@pytest.mark.parametrize("at", [0, 5, 30, -1])
def test_behind_what_is_damaged_poses_go_on(tmp_path, at):
    written, path = PartFiles(tmp_path, POSES), tmp_path / "arm-0.poses"
    for at_ns in (10, 20, 30):
        written.append(poses(at_ns))
    data = bytearray(path.read_bytes())
    each = len(data) // 3
    data[each + at if at >= 0 else 2 * each + at] ^= 0x40
    path.write_bytes(data)
    *_, second = first = list(frames(tmp_path, "arm-0"))
    damage = [found for found in first if isinstance(found, Damage)]
    assert [(d.file, d.after_ns, d.before_ns) for d in damage] == [
        (f"{tmp_path.name}/arm-0.poses", 10, 30)
    ]
    assert second.at_ns == 30
    path.write_bytes(data[: each - 3])
    (torn,) = frames(tmp_path, "arm-0")
    assert (torn.at_byte, torn.size_bytes) == (0, each - 3)


def test_a_full_disk_costs_poses_and_they_go_on_when_there_is_room(tmp_path):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    run = Run(arms(), ("device",), tmp_path, Unseen())
    try:
        run._see(poses(10))
        run._see(poses(11, process="stranger"))
        whole = (tmp_path / "parts" / "arm-0.poses").stat().st_size
        with room(whole + 9):
            run._see(poses(20))
        run._hear(report("arm-0", "device", 1))
        run._report()
        assert [h.name for h in run.record.happenings][-1] == "poses_lacks"
        assert not run.lacks, "the figures of the run are all there"
        run._see(poses(30))
        run._report()
        assert [h.name for h in run.record.happenings][-1] == "poses_resumed"
        assert run.record.label(POSES.label)
        assert [frame.at_ns for frame in frames(tmp_path / "parts", "arm-0")] == [9, 10, 29, 30]
        assert not list(frames(tmp_path / "parts", "stranger"))
    finally:
        run._ends.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    summary = join(tmp_path)
    assert [(lack["what"], lack["reports"]) for lack in summary["lacks"]] == [
        ("reports of poses", 1)
    ]
    assert summary["damaged"] == []


def test_poses_take_no_room_as_long_as_reports_lack(tmp_path):
    parts = PartFiles(tmp_path)
    shown, path = PartFiles(tmp_path, POSES, parts), tmp_path / "arm-0.reports"
    path.mkdir()
    parts.append(report("arm-0", "device", 1))
    shown.append(poses(10))
    assert not (tmp_path / "arm-0.poses").exists()
    (lack,) = shown.lacks
    assert (lack.reports, lack.why) == (1, "Is a directory")
    told = "Is a directory; the run continues, its reports of poses are not kept"
    assert shown.news() == [("poses_lacks", told)]
    path.rmdir()
    parts.append(report("arm-0", "device", 2))
    shown.append(poses(20))
    assert shown.news() == [("poses_resumed", "1 reports of poses are missing")]
    assert [frame.at_ns for frame in frames(tmp_path, "arm-0")] == [19, 20]


def test_a_queue_that_poses_fill_too_holds_all_reports_of_its_depth(address):
    source = ReportSource(address)
    for second in range(DEPTH[Report]):
        assert source.send(report("arm-0", "device", second))
        source.show(poses(second + 2))
    source.close()


def test_poses_behind_a_report_that_is_lost_are_not_sent_but_counted(address):
    source = ReportSource(address)
    assert not source.send(report("arm-0", "device", 1, rows=np.ones((4000, len(LEDGER)))))
    assert not source.show(poses(2))
    later = report("arm-0", "device", 2)
    assert source.send(later)
    assert later.counters["poses.dropped"] == 1
    assert source.show(poses(3))
    source.close()


def test_a_device_tells_the_roof_its_poses_behind_each_report(address):
    robot, taken = tapped(embody(PLANT, 1), "p-0", 1, 30)
    node = DeviceNode("p-0", 1, robot, DeviceConfig(), "test")
    sink = ReportSink()
    source = ReportSource(sink.address)
    hello = Hello(node="p-0", role="device", boot=1, software="test", spec=robot.policy.digest)
    link = Client(ClientSocket(address), hello, "edge")
    loop = ControlLoop(node, robot.body, link, source, poses=taken)
    node.on_start(loop._clock.now_ns())
    for _ in range(20):
        loop.tick()
    loop._report(loop._clock.now_ns())
    loop._report(loop._clock.now_ns())
    heard = []
    while len(heard) < 3:
        heard += sink.poll(2000)
    for end in (link, source, sink):
        end.close()
    assert [type(one).__name__ for one in heard] == ["Report", "Poses", "Report"]
    assert heard[1].at_ns == heard[1].frame_ns[-1] <= heard[0].at_ns


def test_poses_show_what_was_where_a_sensor_froze(tmp_path):
    frozen = SensorFreeze(at_s=0.5, for_s=1.5, target="arm-0")
    deployment = arms("learner.rounds_max=0", "run.duration_s=2", 'scenario.robots=["arm-0"]')
    live(tmp_path, replaced(deployment, fault=(frozen,)))
    found = [f for f in frames(tmp_path / "parts", "arm-0") if 0.6e9 < f.at_ns < 1.9e9]
    joints = np.array([frame.joints_rad for frame in found])
    assert np.ptp(joints, axis=0).max() > 0.05
