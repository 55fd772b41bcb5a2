"""The stack on the virtual clock: exact, charged by its hardware, and able to die and come back."""

import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from virtual_plants import MS, S, deployment, plants, plants_file

from tierloop.calibrate.networks import untrained
from tierloop.cloud.config import LearnerConfig
from tierloop.contract.ledger import INDEX
from tierloop.device.config import ActingConfig, DeviceConfig
from tierloop.edge.config import EdgeConfig
from tierloop.link.spec import LinkSpec
from tierloop.policy.artefact import pack
from tierloop.policy.work import work
from tierloop.sim.scenario import policy_spec
from tierloop.stack.config import hardware
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import PolicyConfig, RunConfig
from tierloop.stack.record.invariants import invariants, unaccounted
from tierloop.stack.record.summary import EXTRAPOLATED
from tierloop.stack.virtual.run import run_virtual
from tierloop.views.remarks import remarks


def trace(seed: int = 7, seconds: float = 3.0, **tables) -> str:
    with plants(deployment(**tables), seed) as p:
        p.run(seconds)
        p.stack.finish()
        return p.stack.trace.hexdigest()


@pytest.fixture(scope="module")
def plain():
    """The trace of the plants as they are."""
    return trace()


def test_one_seed_one_trace_in_any_directory(plain):
    assert trace() == plain


def test_another_seed_another_link_or_another_end_another_trace(plain):
    traces = {
        plain,
        trace(seed=8),
        trace(seconds=3.5),
        trace(device=LinkSpec(preset="5g")),
        trace(edge=EdgeConfig(hardware="agx-orin")),
    }
    assert len(traces) == 5


def test_looking_at_a_run_does_not_change_it(plain):
    with plants(deployment()) as p:
        for _ in range(30):
            p.run(0.1)
            p.stack.trace.hexdigest()
        p.stack.finish()
        assert p.stack.trace.hexdigest() == plain


def test_no_clock_of_the_host_decides_what_is_staged(monkeypatch):
    def read() -> int:
        raise AssertionError("the processor's time was read")

    monkeypatch.setattr(time, "thread_time_ns", read)
    monkeypatch.setattr(time, "process_time_ns", read)
    with plants(deployment()) as p:
        p.run(3)
        assert list((p.folder / "state/edge/policies").glob("*.policy"))


def test_the_age_of_action_is_that_of_the_link():
    file = plants_file(device=LinkSpec(delay_ms=40))
    device = DeviceConfig(acting=ActingConfig(predict=False))
    with plants(resolve(msgspec.structs.replace(file, device=device))) as p:
        p.run(6)
        ages = p.ages_ms()
    assert len(ages) > 40, "an untrained policy contradicts itself: the rest is left, by premise"
    assert 80 < ages[0] < ages[-1] < 95


def slow(tmp_path: Path, job: str, times: float) -> str:
    """A profile whose `job` takes so many times as long."""
    text = (hardware.SHIPPED / "orin-nx.toml").read_text()
    head, found, rest = text.partition(f"[jobs.{job}]")
    assert found
    body, mark, others = rest.partition("\n[")
    lines = []
    for line in body.splitlines():
        if line.startswith("us"):
            values = [float(v) * times for v in line.split("=")[1].strip(" []").split(",")]
            line = f"us = {values}"
        lines.append(line)
    path = tmp_path / f"slow-{job}.toml"
    path.write_text(head + found + "\n".join(lines) + mark + others)
    return str(path)


def test_inference_is_charged_to_the_edge(tmp_path):
    with plants(deployment(device=LinkSpec())) as p:
        p.run(4)
        quick = p.ages_ms()
    edge = EdgeConfig(hardware=slow(tmp_path, "infer", 300))
    with plants(deployment(device=LinkSpec(), edge=edge)) as p:
        p.run(4)
        late = p.ages_ms()
        rows = p.record.decisions()
    assert late[len(late) // 2] > quick[len(quick) // 2] + 10
    assert max(rows[:, INDEX["compute_ns"]]) > 10 * MS


def computed_us(p) -> float:
    """The median time that the edge computed an answer."""
    return float(np.median(p.record.decisions()[:, INDEX["compute_ns"]])) / 1000


def test_the_release_in_force_is_what_is_charged():
    """Ten times the operations take longer on the same machine; the profile says how much."""
    found = {}
    for hidden in ((256, 256), (900, 900)):
        learner = LearnerConfig(rounds_max=0, hidden=hidden)
        given = deployment(robots=1, device=LinkSpec(), learner=learner)
        with plants(given) as p:
            p.run(4)
            found[hidden] = computed_us(p)
            assert not [event for event in p.stack.events if event.name == EXTRAPOLATED]
        asked = work(policy_spec(given.scenario), hidden)
        promised_us = hardware.load(given.edge.hardware).jobs.infer.us_of(asked, 1)
        assert found[hidden] == pytest.approx(promised_us, rel=0.1)
    assert found[900, 900] > 2.5 * found[256, 256]


def test_a_policy_of_ones_own_is_charged_by_its_own_network(tmp_path):
    given = deployment(robots=1, device=LinkSpec())
    artefact = untrained(policy_spec(given.scenario), (700, 700))
    (tmp_path / "mine.policy").write_bytes(pack(artefact))
    mine = PolicyConfig(initial=str(tmp_path / "mine.policy"))
    with plants(msgspec.structs.replace(given, policy=mine)) as p:
        p.run(4)
        asked = work(artefact.manifest.spec, (700, 700))
        promised_us = hardware.load(given.edge.hardware).jobs.infer.us_of(asked, 1)
        assert computed_us(p) == pytest.approx(promised_us, rel=0.1)


def test_what_its_profile_was_not_fitted_on_is_said_once_by_the_run():
    learner = LearnerConfig(rounds_max=0, hidden=(2,))
    summary = run_virtual(
        deployment(device=LinkSpec(), learner=learner, run=RunConfig(duration_s=2.0)), 7
    )
    (told,) = summary["extrapolated"]
    assert told["process"] == "edge"
    assert told["what"].startswith("a network of ")
    (words,) = [line for line in remarks(summary) if "compute" in line]
    assert words == (
        "compute of edge: outside what its hardware's profile was fitted on: " + told["what"]
    )


def test_a_tick_that_takes_longer_than_its_period_is_missed_not_replayed(tmp_path):
    device = DeviceConfig(hardware=slow(tmp_path, "tick", 100))
    with plants(deployment(robots=1, device=LinkSpec()), 1) as p:
        p.run(2)
        p.stack.finish()
        assert p.record.counters("device")["missed"] == 0
    given = msgspec.structs.replace(plants_file(robots=1), device=device)
    with plants(resolve(given), 1) as p:
        p.run(2)
        p.stack.finish()
        counters = p.record.counters("device")
    assert counters["missed"] > 100
    assert counters["ticks"] + counters["missed"] == pytest.approx(2 * 240, abs=125)


def sound(p) -> None:
    """No invariant is violated, and no datum is lost or doubled."""
    found = p.audit()
    assert not any(invariants(p.record, found).values())
    assert found.stored > 0


def test_an_edge_that_crashes_is_missed_held_for_and_welcomed_back():
    with plants(deployment()) as p:
        p.run(3)
        boot = p.stack.nodes["edge"].report(p.stack.now_ns).boot
        assert p.rung_s("hold") < 0.6
        p.stack.crash("edge")
        assert "edge" not in p.stack.nodes
        p.run(2.5)
        assert p.rung_s("hold") + p.rung_s("stop") > 2 * 1.8
        before_s = p.rung_s("edge")
        p.stack.restart("edge")
        assert p.stack.nodes["edge"].report(p.stack.now_ns).boot > boot
        p.run(3)
        assert p.rung_s("edge") - before_s > 2 * 2.5
        p.run(3)
        p.stack.finish()
        assert p.told("p-0").count("lost") == 1
        assert p.told("p-0").count("session") == 2
        sound(p)


def test_a_device_that_crashes_comes_back_under_another_boot():
    with plants(deployment()) as p:
        p.run(2)
        p.stack.crash("p-0")
        p.run(1.5)
        p.stack.restart("p-0")
        p.run(3)
        p.stack.finish()
        boots = {life.boot for life in p.record.of("device") if life.process == "p-0"}
        assert len(boots) == 2
        assert [h.name for h in p.stack.events if h.process == "p-0"] == [
            "started", "died", "restarted", "stopped",
        ]  # fmt: skip
        sound(p)


def test_a_cloud_that_crashes_goes_on_from_its_newest_release_and_loses_nothing():
    with plants(deployment()) as p:
        p.run(3)
        p.stack.crash("cloud")
        p.run(4)
        assert p.stack.nodes["edge"].report(p.stack.now_ns).gauges["outbox_rows"] > 0
        p.stack.restart("cloud")
        p.run(5)
        assert p.stack.nodes["edge"].report(p.stack.now_ns).gauges["outbox_rows"] < 4
        assert p.rung_s("edge") > 2 * 10
        p.stack.finish()
        assert "resumed" in p.told("cloud")
        sound(p)


def test_restarts_in_a_row_and_of_all_leave_it_working():
    with plants(deployment()) as p:
        for _ in range(3):
            for name in p.stack.processes:
                p.run(0.37)
                p.stack.restart(name)
                p.stack.restart(name)
        p.run(5)
        since_ns = p.stack.now_ns
        p.run(5)
        assert len(p.ages_ms(since_ns)) > 60
        p.stack.finish()
        sound(p)


def test_a_hung_edge_keeps_its_sessions_and_the_devices_hold():
    with plants(deployment()) as p:
        p.run(3)
        p.stack.hang("edge")
        acted_s = p.rung_s("edge")
        p.run(3)
        assert p.rung_s("edge") - acted_s < 2 * 0.5
        p.stack.resume("edge")
        p.run(3)
        assert p.rung_s("edge") - acted_s > 2 * 2
        p.stack.finish()
        assert "lost" not in p.told("p-0") + p.told("cloud")
        sound(p)


def test_a_hung_device_misses_its_ticks_and_takes_up_again():
    with plants(deployment()) as p:
        p.run(2)
        p.stack.hang("p-0")
        p.run(2)
        p.stack.resume("p-0")
        p.run(3)
        p.stack.finish()
        assert "lost" not in p.told("edge")
        lives = {life.process: life.last.counters for life in p.record.of("device")}
        assert lives["p-0"]["missed"] > 450 > lives["p-1"]["missed"]


def test_a_job_under_way_at_a_crash_was_not_done(tmp_path):
    """What is not yet committed is not acknowledged, and comes again."""
    edge = EdgeConfig(hardware=slow(tmp_path, "commit", 100))
    with plants(deployment(edge=edge)) as p:
        p.run(1.6)
        for _ in range(5):
            p.run(0.3)
            p.stack.crash("edge")
            p.run(0.1)
            p.stack.restart("edge")
        p.run(12)
        p.stack.finish()
        sound(p)


def test_a_cut_link_drops_by_reason_and_both_ends_notice():
    with plants(deployment()) as p:
        p.run(2)
        p.stack.links["p-0", "edge"].conditions.cut = True
        p.run(2)
        assert p.stack.links["p-0", "edge"].dropped["cut"] > 0
        p.stack.links["p-0", "edge"].conditions.cut = False
        p.run(2)
        p.stack.finish()
        assert "lost" in p.told("edge")
        sound(p)


def test_every_message_on_every_way_is_delivered_or_dropped_by_reason():
    with plants(deployment()) as p:
        p.run(4)
        p.stack.crash("edge")
        p.run(1)
        p.stack.restart("edge")
        p.run(3)
        p.stack.finish()
        p.stack.run(p.stack.now_ns + 10 * S)
        for way in p.stack.ways.values():
            model = way.model
            assert model.carried + model.duplicated == way.delivered + way.unreachable
        assert p.stack.ways["p-0", "edge"].unreachable > 0


def test_at_calls_back_at_the_instant():
    with plants(deployment()) as p:
        seen = []
        p.stack.at(S // 3, lambda: seen.append(p.stack.now_ns))
        p.run(1)
        assert seen == [S // 3]


def test_every_message_on_a_link_is_accounted_for_while_it_lives_and_at_the_end():
    bad = LinkSpec(preset="lte", loss=0.2, duplicate=0.2, reorder=0.2, reorder_ms=40)
    with plants(deployment(device=bad)) as p:
        p.stack.at(2 * S, lambda: p.stack.crash("edge"))
        p.stack.at(3 * S, lambda: p.stack.restart("edge"))
        for _ in range(12):
            p.run(0.5)
            assert unaccounted(p.record) == 0
        p.stack.finish()
        assert unaccounted(p.record) == 0
        life = p.record.of("device")[0]
        assert life.last.counters["link.up.dropped.loss"] > 0
        life.last.counters["link.up.dropped.loss"] -= 1
        assert unaccounted(p.record) == 1
