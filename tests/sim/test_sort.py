"""The sort task piece by piece: what the judge says, what the scanner sees, what is perceived."""

import numpy as np
import pytest

from tierloop.contract.body import Effort, Episode, Reading, Scan
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.sim.bodies.panda import HOME_RAD, Panda, tool_position
from tierloop.sim.scenario import Scenario, body_spec
from tierloop.sim.tasks.sort import layout as lay
from tierloop.sim.tasks.sort.perceive import SortPerceiver, observation_spec
from tierloop.sim.tasks.sort.scanner import Scanner
from tierloop.sim.tasks.sort.scene import BeltPart, Scene
from tierloop.sim.tools.suction import FORCE_N, GAP_M, REACH_M, Suction, seals
from tierloop.sim.world import World

STEP_NS = NS_PER_S // 240
LIP_M = tuple(tool_position(np.array(HOME_RAD)).tolist())


class Stage:
    """A scene whose parts a test may put anywhere; the arm stands at home with its cup."""

    def __init__(self, seed: int = 1, **scenario: float) -> None:
        self.world = World(1 / 240)
        arm = Panda(self.world, body_spec(Scenario()))
        arm.place(np.array(HOME_RAD))
        self.suction = Suction(self.world, arm.name, arm.hand)
        self.scene = Scene(self.world, self.suction, Scenario(**scenario))
        self.now_ns, self.pump = 0, False
        self.scene.start(seed, 0)
        self.part = self.scene.parts[0]

    def run(self, seconds: float) -> list[Episode]:
        judged: list[Episode] = []
        for _ in range(round(seconds * 240)):
            self.scene.before_step(self.now_ns + STEP_NS)
            self.world.step()
            self.now_ns += STEP_NS
            if self.pump:
                self.suction.pull(LIP_M, self.scene.graspable())
            judged += self.scene.after_step(self.now_ns)
        return judged

    def put(self, x: float, y: float, z: float) -> None:
        self.world.carry(self.part.name, (x, y, z), (0.0, 0.0, 0.0))

    def lift(self) -> None:
        """The part is at the cup, and so the next one comes."""
        self.put(LIP_M[0], LIP_M[1], LIP_M[2] - self.part.height_m / 2)
        self.pump = True
        assert self.run(0.1) == []
        assert self.suction.holding == self.part.name
        assert self.part.lifted

    def drop_at(self, x: float, y: float, z: float) -> list[Episode]:
        self.pump = False
        self.suction.let_go()
        self.put(x, y, z)
        return self.run(2.0)


@pytest.fixture
def stage():
    stage = Stage()
    yield stage
    stage.world.close()


def verdict(judged: list[Episode]) -> str:
    assert judged[0].number == 1
    assert judged[0].success == (judged[0].reason == "sorted")
    return judged[0].reason


def test_the_bin_of_its_class_and_no_other(stage):
    for bin_, reason in ((stage.part.kind, "sorted"), ((stage.part.kind + 1) % 3, "wrong bin")):
        fresh = Stage()
        fresh.lift()
        x, y = lay.BINS_M[bin_]
        assert verdict(fresh.drop_at(x, y, 0.15)) == reason
        assert fresh.part not in fresh.scene.parts
        fresh.world.close()


def test_a_part_is_judged_at_rest_not_on_its_way_down(stage):
    stage.lift()
    x, y = lay.BINS_M[stage.part.kind]
    stage.pump = False
    stage.suction.let_go()
    stage.put(x, y, 0.3)
    judged: list[Episode] = []
    while not judged:
        at = stage.world.position(stage.part.name)
        judged = stage.run(1 / 240)
    assert verdict(judged) == "sorted"
    assert at[2] < stage.part.height_m / 2 + 0.005


def test_beside_the_bins_is_dropped(stage):
    stage.lift()
    assert verdict(stage.drop_at(0.1, 0.5, 0.05)) == "dropped"


def test_left_alone_it_passes_the_end(stage):
    judged = stage.run(8.0)
    assert verdict(judged) == "passed the end of the belt"
    travelled = judged[0].ended_ns - judged[0].started_ns
    assert 1.0 < travelled / NS_PER_S < 9.0


def test_swept_off_the_belt(stage):
    stage.put(0.1, -0.5, 0.05)
    assert verdict(stage.run(0.1)) == "knocked off the belt"


def test_a_frozen_arm_cannot_keep_a_part_for_ever(stage):
    stage.lift()
    judged = stage.run(9.0)
    mine = next(e for e in judged if e.number == 1)
    assert mine.reason == "timed out"
    assert stage.suction.holding == ""
    assert any(e.number == 2 for e in judged)


def test_the_next_part_comes_when_the_last_is_lifted_and_not_before(stage):
    stage.run(0.2)
    assert len(stage.scene.parts) == 1
    stage.lift()
    assert [p.number for p in stage.scene.parts] == [1, 2]
    stage.run(0.2)
    assert len(stage.scene.parts) == 2


def test_what_part_n_is_like_depends_on_the_seed_and_n_alone(stage):
    stage.run(12.0)
    second = Stage()
    second.lift()
    late, early = stage.scene.parts[-1], second.scene.parts[-1]
    while late.number > early.number:
        second.part = early
        second.drop_at(0.1, 0.5, 0.05)
        early = second.scene.parts[-1]
    assert (late.kind, late.height_m) == (early.kind, early.height_m)
    second.world.close()


def test_the_belt_drags_at_its_speed():
    stage = Stage(belt_low_m_s=0.1, belt_high_m_s=0.1)
    stage.run(0.5)
    start = stage.world.position("part 1")
    stage.run(1.0)
    way = np.subtract(stage.world.position("part 1"), start)
    assert way[1] == pytest.approx(0.1, abs=0.005)
    assert abs(way[0]) < 0.003
    stage.world.close()


def test_the_speed_of_the_belt_swings_about_what_it_is_for_a_part():
    stage = Stage(belt_low_m_s=0.1, belt_high_m_s=0.1, belt_swing=0.5, belt_swing_s=2.0)
    stage.run(2.0)
    places = []
    for _ in range(3):
        places.append(stage.world.position("part 1")[1])
        stage.run(1.0)
    mean = 0.5 * 2 / np.pi
    assert np.diff(places) == pytest.approx([0.1 * (1 + mean), 0.1 * (1 - mean)], abs=0.005)
    stage.world.close()


def test_the_cup_seals_only_on_the_middle_of_a_top():
    top = (0.4, 0.0, 0.15)
    assert seals((0.4 + 0.9 * REACH_M, 0.0, 0.15 + 0.9 * GAP_M), top)
    assert not seals((0.4 + 1.1 * REACH_M, 0.0, 0.15), top)
    assert not seals((0.4, 0.0, 0.15 + 1.1 * GAP_M), top)
    assert not seals((0.4, 0.0, 0.15 - 1.1 * GAP_M), top)


def test_the_vacuum_gives_way_under_too_great_a_load():
    for mass, holds in ((0.5 * FORCE_N / 9.81, True), (2.0 * FORCE_N / 9.81, False)):
        stage = Stage()
        stage.world.add_box("load", (0.02, 0.02, 0.02), (*LIP_M[:2], LIP_M[2] - 0.02), mass)
        load = BeltPart(9, "load", 0, 0.04, 0, lifted=True)
        stage.scene.parts.append(load)
        stage.pump = True
        stage.run(0.3)
        assert (stage.suction.holding == "load") == holds
        stage.world.close()


def scans(seconds: float = 20.0, **scenario: float) -> list[tuple[int, Scan]]:
    scanner = Scanner(Scenario(**scenario))
    scanner.start(3, 0)
    part = BeltPart(1, "part 1", 2, 0.03, 0)
    seen = []
    for now in range(0, round(seconds * NS_PER_S), STEP_NS):
        if scanner.due(now):
            scanner.capture(now, part, (0.4, -0.3, 0.135))
        seen += [(now, scan) for scan in scanner.arrived(now)]
    return seen


def test_the_scanner_keeps_its_rate_noise_dropouts_and_latency():
    seen = scans(scan_noise_m=0.004, scan_dropout=0.3, scan_latency_ms=50)
    assert len(seen) == pytest.approx(20 * 15 * 0.7, rel=0.1)
    tops = np.array([scan.position_m for _, scan in seen])
    assert tops.mean(0) == pytest.approx((0.4, -0.3, 0.15), abs=0.001)
    assert tops.std(0) == pytest.approx(0.004, rel=0.2)
    delays = np.array([now - scan.captured_ns for now, scan in seen])
    assert (delays >= 50 * NS_PER_MS).all()
    assert (delays < 50 * NS_PER_MS + 2 * STEP_NS).all()
    assert scans(scan_noise_m=0.004) == scans(scan_noise_m=0.004)


def test_the_scanner_is_blind_past_its_end():
    scanner = Scanner(Scenario(scan_dropout=0.0))
    scanner.start(0, 0)
    scanner.capture(0, BeltPart(1, "part 1", 0, 0.03, 0), (0.4, lay.SCAN_END_M + 0.001, 0.135))
    assert scanner.arrived(NS_PER_S) == []


SPEC = observation_spec(body_spec(Scenario()))
AT = {label: i for i, label in enumerate(SPEC.labels)}


def reading(now_s: float, *seen: Scan, holding: bool = False, z: float = 0.3) -> Reading:
    return Reading(
        captured_ns=round(now_s * NS_PER_S),
        position_rad=np.array(HOME_RAD),
        velocity_rad_s=np.zeros(7),
        torque_nm=np.zeros(7),
        tool_m=np.array((0.42, 0.0, z)),
        switch=float(holding),
        holding=holding,
        scans=seen,
        outcomes=(),
        effort=Effort.none(7),
    )


def scan(
    at_s: float, part: int = 1, kind: int = 2, speed: float = 0.07, noise: float = 0.0
) -> Scan:
    y = -0.4 + speed * at_s + noise
    return Scan(round(at_s * NS_PER_S), part, (0.43, y, 0.15), kind, 0.03)


def tracked(**about: float) -> SortPerceiver:
    perceiver = SortPerceiver(SPEC)
    rng = np.random.default_rng(0)
    for k in range(20):
        noisy = scan(k / 15, noise=float(rng.normal(0, 0.002)), **about)
        perceiver.update(reading(k / 15 + 0.03, noisy))
    return perceiver


def feature(perceiver: SortPerceiver, label: str, at: Reading) -> float:
    return float(perceiver.features(at)[AT[label]])


def test_nothing_is_known_before_the_first_scan():
    features = SortPerceiver(SPEC).features(reading(0.0))
    SPEC.validate(features)
    assert features[AT["part_known"]] == 0
    assert features[AT["is_box"] : AT["is_disc"] + 1].sum() == 0


def test_joint_positions_come_first_under_the_actions_labels():
    assert SPEC.labels[:7] == tuple(f"joint_{i}_rad" for i in range(1, 8))
    features = SortPerceiver(SPEC).features(reading(0.0))
    assert features[:7] == pytest.approx(HOME_RAD, abs=1e-6)


def test_a_part_is_reckoned_on_to_the_instant_of_the_reading():
    now = reading(3.0)
    perceiver = tracked()
    assert feature(perceiver, "belt_m_s", now) == pytest.approx(0.07, abs=0.003)
    assert feature(perceiver, "part_y_from_tool_m", now) == pytest.approx(-0.4 + 0.21, abs=0.008)
    assert feature(perceiver, "part_x_from_tool_m", now) == pytest.approx(0.01, abs=1e-3)
    assert feature(perceiver, "part_z_from_tool_m", now) == pytest.approx(-0.15, abs=1e-3)
    assert feature(perceiver, "scan_age_s", now) == pytest.approx(3.0 - 19 / 15, abs=1e-3)
    assert feature(perceiver, "is_disc", now) == 1


def test_a_part_past_the_end_is_forgotten():
    assert feature(tracked(), "part_known", reading(8.0)) == 1
    assert feature(tracked(), "part_known", reading(10.0)) == 0


def test_the_class_carried_is_kept_while_the_next_part_is_tracked():
    perceiver = tracked()
    perceiver.update(reading(3.0, holding=True))
    assert feature(perceiver, "part_known", reading(3.0, holding=True)) == 0
    perceiver.update(reading(3.2, scan(3.1, part=2, kind=0), holding=True))
    carrying = reading(3.2, holding=True)
    assert feature(perceiver, "is_disc", carrying) == 1
    assert feature(perceiver, "is_box", carrying) == 0
    assert feature(perceiver, "part_known", carrying) == 1
    perceiver.update(reading(4.0))
    assert feature(perceiver, "is_box", reading(4.0)) == 1
    assert feature(perceiver, "is_disc", reading(4.0)) == 0


@pytest.mark.parametrize(("z", "known"), [(0.16, 1), (0.30, 0)])
def test_a_part_lost_on_the_belt_is_tracked_on_from_there(z, known):
    perceiver = tracked()
    perceiver.update(reading(3.0, holding=True, z=z))
    perceiver.update(reading(4.0, z=z))
    later = reading(5.0, z=z)
    assert feature(perceiver, "part_known", later) == known
    if known:
        assert feature(perceiver, "part_y_from_tool_m", later) == pytest.approx(0.07, abs=0.005)


def test_an_expected_reading_carries_the_part_on_and_leaves_the_track_as_it_is():
    perceiver, now, later = tracked(), reading(3.0), reading(3.6)
    before = perceiver.features(now)
    ahead = perceiver.features(later) - before
    assert ahead[AT["part_y_from_tool_m"]] == pytest.approx(0.6 * 0.07, abs=0.003)
    assert ahead[AT["part_x_from_tool_m"]] == pytest.approx(0.0, abs=1e-6)
    assert ahead[AT["scan_age_s"]] == pytest.approx(0.6, abs=1e-6)
    assert (perceiver.features(now) == before).all()


def test_a_tool_expected_to_let_go_carries_nothing():
    perceiver = tracked()
    perceiver.update(reading(3.0, holding=True))
    assert feature(perceiver, "is_disc", reading(3.2, holding=True)) == 1
    let_go = reading(3.2, holding=False)
    assert feature(perceiver, "is_disc", let_go) == 0
    assert feature(perceiver, "part_known", let_go) == 0
    assert feature(perceiver, "is_disc", reading(3.2, holding=True)) == 1
