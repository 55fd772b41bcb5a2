import msgspec
import numpy as np
import pytest
from plant import PERIOD_NS, POLICY, embodiment

from tierloop.contract.body import Effort, Episode
from tierloop.contract.bounds import MIXED
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.codec import Codec, digest64
from tierloop.contract.effects import Send
from tierloop.contract.ledger import INDEX, Refusal, Rung, Tier
from tierloop.contract.messages import (
    ActionChunk,
    Observation,
    Refused,
    Report,
    Sealed,
    Segment,
    Stored,
    Welcome,
)
from tierloop.device.config import DeviceConfig
from tierloop.device.energy import BatteryConfig
from tierloop.device.meter import ENERGY_PARTS
from tierloop.device.node import DeviceNode


class Rig:
    """A device node on a hand-turned clock, with an edge that answers when asked to."""

    def __init__(self, **config) -> None:
        self.robot = embodiment()
        self.node = DeviceNode("arm", 1, self.robot, DeviceConfig(**config), "test")
        self.now = NS_PER_S
        self.node.on_start(self.now)
        self.sent: list = []

    def tick(self, ticks: int = 1, answer=None) -> None:
        for _ in range(ticks):
            self.now += PERIOD_NS
            reading = self.robot.body.read(self.now)
            setpoint, effects = self.node.on_tick(self.now, reading)
            self.robot.body.write(setpoint)
            self.node.on_written(self.now + 1000)
            for effect in effects:
                assert isinstance(effect, Send)
                self.sent.append(effect.message)
                self.node.on_sent(self.now + 2000, effect.message, 150)
                if answer and isinstance(effect.message, Observation):
                    self.node.on_message(self.now + 3000, "edge", answer(effect.message))

    def segments(self) -> list[Segment]:
        codec = Codec()
        return [codec.decode(m.body.data) for m in self.sent if isinstance(m, Sealed)]


def answer(observation: Observation, version: int = 1, value: float = 0.3) -> ActionChunk:
    rows = np.full((8, 3), value, np.float32)
    return ActionChunk.answering(observation, POLICY, rows, version, held_ns=500, compute_ns=300)


def test_decisions_come_at_their_rate_and_the_body_follows():
    rig = Rig()
    rig.tick(235, answer)
    observations = [m for m in rig.sent if isinstance(m, Observation)]
    assert len(observations) == 20
    assert [o.seq for o in observations] == list(range(20))
    assert rig.robot.body.read(rig.now).position_rad == pytest.approx([0.3, 0.3], abs=1e-3)


def test_silence_of_the_edge_holds_then_stops_and_ticks_on():
    rig = Rig(hold_s=0.5)
    rig.tick(60, answer)
    last = rig.sent[-1] if isinstance(rig.sent[-1], Observation) else None
    rig.tick(300)
    assert last is None or last.seq < 60
    assert rig.node.arbiter.rung is Rung.STOP
    writes = np.array(rig.robot.body.writes)
    assert np.ptp(writes[-200:], axis=0).max() < 1e-9
    report = rig.node.report(rig.now)
    assert report.counters["rung_s.hold"] == pytest.approx(0.5, abs=0.1)
    assert report.counters["rung_s.stop"] > 0.2


def test_the_ledger_has_one_row_a_decision():
    rig = Rig()
    rig.tick(235, answer)
    rows = rig.node.report(rig.now, last=True).decisions
    assert len(rows) == 20
    assert (rows[:, INDEX["tier"]] == Tier.EDGE).all()
    applied = rows[:-1, INDEX["applied_ns"]] - rows[:-1, INDEX["captured_ns"]]
    assert (applied == PERIOD_NS + 1000).all()
    assert rows[:, INDEX["actuation_uj"]].sum() > 0
    assert (rows[:, INDEX["received_ns"]] - rows[:, INDEX["sent_ns"]] == 1000).all()
    assert len(rig.node.report(rig.now, last=True).decisions) == 0


def test_rows_wait_for_their_answer():
    rig = Rig()
    rig.tick(235, answer)
    assert len(rig.node.report(rig.now).decisions) == 0
    rig.tick(480, answer)
    assert 15 <= len(rig.node.report(rig.now).decisions) <= 21


def test_late_answers_are_refused_and_counted():
    rig = Rig()
    rig.tick(13)
    old = next(m for m in rig.sent if isinstance(m, Observation))
    rig.tick(120)
    rig.node.on_message(rig.now, "edge", answer(old))
    report = rig.node.report(rig.now, last=True)
    assert report.counters["refused.expired"] == 1
    assert report.decisions[0, INDEX["refused"]] == Refusal.EXPIRED
    assert report.decisions[0, INDEX["applied_ns"]] == 0


def test_experience_says_what_was_really_applied():
    rig = Rig()
    rig.tick(250, answer)
    first, second = rig.segments()[:2]
    assert (first.seq, second.seq) == (0, 1)
    assert first.features.shape == (10, 4)
    assert first.versions[0] == MIXED
    assert (second.versions == 1).all()
    assert second.applied[5:, 0] == pytest.approx(0.3, abs=1e-3)
    sealed = next(m for m in rig.sent if isinstance(m, Sealed))
    assert digest64(sealed.body.tobytes()) == sealed.digest


def test_segments_are_kept_until_stored_and_sent_again():
    rig = Rig()
    rig.tick(480, answer)
    uplink = rig.node.uplink
    produced = uplink.produced
    assert uplink.waiting == produced >= 3
    rig.node.on_message(rig.now, "edge", Stored(device="arm", boot=1, below=1, also=(2,)))
    rig.node.on_message(rig.now, "edge", Stored(device="arm", boot=9, below=99))
    assert uplink.waiting == produced - 2
    rig.sent.clear()
    rig.node.on_message(rig.now, "edge", Welcome(node="edge", boot=5, acked=1))
    rig.tick(12, answer)
    assert next(m.seq for m in rig.sent if isinstance(m, Sealed)) == 1
    rig.sent.clear()
    rig.tick(240 * 4, answer)
    assert 1 in [m.seq for m in rig.sent if isinstance(m, Sealed)]


def test_an_answer_of_an_edge_that_is_gone_does_not_act_beside_its_successors():
    """Fuzz seed 2628: a link that reorders brought it after the successor's, of an older policy."""
    rig = Rig()
    rig.tick(60, lambda o: answer(o, version=11))
    for boot, version, acts in ((5, 12, 11), (5, 12, 12), (6, 13, 12)):
        rig.tick(12)
        asked = [m for m in rig.sent if isinstance(m, Observation)][-1]
        rig.node.on_message(rig.now, "edge", Welcome(node="edge", boot=boot, acked=0))
        rig.node.on_message(rig.now, "edge", answer(asked, version))
        assert rig.node.arbiter.chunk.policy_version == acts, "the same edge again cuts nothing"
    assert rig.node.report(rig.now).counters["refused.reordered"] == 2


def test_an_answer_to_what_was_never_asked_does_not_act_and_blocks_nothing():
    rig = Rig()
    rig.tick(12, answer)
    asked = [m for m in rig.sent if isinstance(m, Observation)][-1]
    stray = answer(msgspec.structs.replace(asked, seq=10**15), version=9)
    rig.node.on_message(rig.now, "edge", stray)
    rig.tick(13, answer)
    assert rig.node.arbiter.chunk.policy_version == 1
    assert rig.node.arbiter.chunk.seq > asked.seq
    assert rig.node.report(rig.now).counters["refused.wrong_boot"] == 1


NO_NUMBERS = {"switch": np.nan, "effort": Effort.none(2).times(np.nan)}


@pytest.mark.parametrize(
    "what", ["effort", "torque_nm", "velocity_rad_s", "position_rad", "switch"]
)
def test_a_reading_that_is_no_number_ends_nothing_and_is_counted(what):
    rig = Rig()
    body, read = rig.robot.body, rig.robot.body.read
    rig.tick(60, answer)
    body.read = lambda now_ns: read(now_ns)._replace(
        **{what: NO_NUMBERS.get(what, np.full(2, np.nan))}
    )
    rig.tick(5, answer)
    body.read = read
    rig.tick(60, answer)
    report = rig.node.report(rig.now)
    assert report.counters["ticks.unmeasured"] == (5 if what in NO_NUMBERS else 0)
    assert np.isfinite(rig.node.guard.setpoint).all()
    assert rig.node.meter.battery.given_j == pytest.approx(sum(rig.node.meter.joules.values()))


def test_the_backlog_is_bounded_and_what_it_sheds_is_counted():
    rig = Rig(backlog_segments=3)
    rig.tick(240 * 4)
    assert rig.node.uplink.waiting == 3
    counters = rig.node.report(rig.now).counters
    assert counters["segments.shed"] == counters["segments.produced"] - 3 > 0


def judge(rig: Rig, number: int, started_ns: int) -> None:
    rig.robot.body.outcomes = (Episode(number, True, "sorted", started_ns, rig.now),)
    rig.tick(1)


def test_an_episode_belongs_to_the_version_that_lived_it():
    rig = Rig()
    judge(rig, 0, rig.now)
    rig.tick(60, answer)
    start = rig.now
    rig.tick(60, answer)
    judge(rig, 1, start)
    rig.tick(60, lambda o: answer(o, version=2))
    judge(rig, 2, start)
    report = rig.node.report(rig.now)
    assert [o.policy_version for o in report.outcomes] == [MIXED, 1, MIXED]
    assert [e.name for e in report.events if e.name == "policy"] == ["policy", "policy"]
    rig.sent += [e.message for e in rig.node.flush(rig.now)]
    carried = [o for s in rig.segments() for o in s.outcomes]
    assert [o.number for o in carried][:2] == [0, 1]


def test_what_the_link_says_becomes_events():
    rig = Rig()
    rig.node.on_lost(rig.now, "edge")
    rig.node.on_message(rig.now, "edge", Refused(reason="no", final=True))
    rig.node.on_message(rig.now, "edge", Observation(
        device="x", boot=0, seq=0, captured_ns=0, features=np.zeros(1, np.float32)
    ))  # fmt: skip
    assert [e.name for e in rig.node.report(rig.now).events] == ["lost", "refused"]


def test_flush_seals_what_is_under_way():
    rig = Rig()
    rig.tick(30, answer)
    effects = rig.node.flush(rig.now)
    assert [type(e.message) for e in effects] == [Sealed]
    assert rig.node.flush(rig.now) == []


def test_a_battery_that_cuts_out_stops_the_body_for_good_and_says_so():
    rig = Rig(battery=BatteryConfig(series=13, parallel=1, soc=0.05))
    rig.tick(48, answer)
    assert rig.node.arbiter.rung is Rung.EDGE
    battery = rig.node.meter.battery
    while not battery.cut_out:
        battery.draw(300.0, 1.0)
    rig.tick(1, answer)
    before = len(rig.robot.body.writes)
    rig.tick(240, lambda o: answer(o, value=-0.3))
    assert rig.node.arbiter.rung is Rung.STOP
    assert np.ptp(np.array(rig.robot.body.writes)[before + 120 :], axis=0).max() < 1e-9
    report = rig.node.report(rig.now, last=True)
    (said,) = [e for e in report.events if e.name == "battery"]
    assert "cut out at" in said.detail
    assert "controlled stop" in said.detail
    assert report.gauges["battery.cut_out"] == 1
    assert report.labels["battery"] == "battery out"
    assert report.counters["refused.stopped"] == 20


def test_the_ledger_accounts_for_every_microjoule_of_every_part():
    rig = Rig()
    rig.tick(240, answer)
    first = rig.node.report(rig.now, last=True).decisions
    rig.node.meter.busy_until(0.2)
    rig.tick(240, answer)
    told = {p: round(j * 1e6) for p, j in rig.node.meter.joules.items()}
    rows = np.concatenate([first, rig.node.report(rig.now, last=True).decisions])
    # The last decision came up to a decision period before the end.
    since = {p: told[p] - int(rows[:, INDEX[f"{p}_uj"]].sum()) for p in ENERGY_PARTS}
    assert all(0 <= left <= 0.06 * told[part] for part, left in since.items()), since
    assert (rows[:, INDEX["base_uj"]][1:] > 0).all()
    soc = rows[:, INDEX["soc_ppm"]]
    assert (np.diff(soc) <= 0).all()
    assert soc[-1] < soc[0] <= 1_000_000
    assert 47_000 < rows[-1, INDEX["voltage_mv"]] < 13 * 4200


@pytest.mark.parametrize(
    "bad", [{"hold_s": 0.0}, {"segment_decisions": 0}, {"backlog_segments": -1}]
)
def test_config_is_checked(bad):
    with pytest.raises(ValueError, match="must be positive"):
        DeviceConfig(**bad)


def test_ticks_do_not_wait_on_a_missed_one():
    rig = Rig()
    rig.tick(13, answer)
    rig.now += 10 * POLICY.period_ns
    rig.tick(1, answer)
    rig.tick(12, answer)
    seqs = [m.seq for m in rig.sent if isinstance(m, Observation)]
    assert seqs == sorted(set(seqs))
    assert len(seqs) <= 4


def test_a_report_survives_the_wire():
    rig = Rig()
    rig.tick(30, answer)
    report = rig.node.report(rig.now, [1000], last=True)
    back = Codec().decode(Codec().encode(report))
    assert isinstance(back, Report)
    assert (back.counters, back.gauges) == (report.counters, report.gauges)
