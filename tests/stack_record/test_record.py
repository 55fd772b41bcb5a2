"""Parts, record, summary, ledger and report, on reports whose every figure is known."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from records import MS, S, deployment, fill, outcome, recorded, report, roof, row, short_run

from tierloop.cli.run import headlines, run_code
from tierloop.contract.errors import UserError
from tierloop.contract.ledger import LEDGER
from tierloop.policy.journal import Entry
from tierloop.stack.config.deployment import Deployment, resolve
from tierloop.stack.config.deployment_file import DeploymentFile, RunConfig
from tierloop.stack.faults.kinds import Crash
from tierloop.stack.record import reports
from tierloop.stack.record.audit import Audit
from tierloop.stack.record.folder import prepare
from tierloop.stack.record.histogram import Stretches
from tierloop.stack.record.invariants import invariants
from tierloop.stack.record.summary import percentiles, told_faults
from tierloop.stack.watch import goal_reached
from tierloop.views.charts import wilson
from tierloop.views.finish import join

CLEAN = Audit(stored=0, waiting=0, duplicate=0, missing=0, altered=0)


def test_a_torn_part_loses_only_what_was_torn(tmp_path):
    kept = [report("arm-0", "device", t, counters={"ticks": float(t)}) for t in (1, 2, 3)]
    writer = reports.PartFiles(tmp_path)
    for one in kept:
        writer.append(one)
    whole = (tmp_path / "arm-0.reports").read_bytes()
    for end in (len(whole) - 1, len(whole) - 40, 2 * len(whole) // 3 + 2):
        (tmp_path / "arm-0.reports").write_bytes(whole[:end])
        assert [r.counters["ticks"] for r in reports.read(tmp_path)] == [1.0, 2.0]
    (tmp_path / "arm-0.reports").write_bytes(whole)
    assert [r.at_ns for r in reports.read(tmp_path)] == [1 * S, 2 * S, 3 * S]


def test_counters_are_summed_over_the_lives_of_a_process():
    record = recorded(
        [
            report("edge", "edge", 1, boot=1, counters={"answered": 5.0}),
            report("edge", "edge", 2, boot=1, counters={"answered": 9.0}),
            report("edge", "edge", 3, boot=2, counters={"answered": 4.0}),
            report("arm-0", "device", 3, counters={"ticks": 7.0}),
        ]
    )
    assert record.counters("edge") == {"answered": 13.0}
    assert record.counters() == {"answered": 13.0, "ticks": 7.0}


def test_versions_count_their_own_episodes_and_mixed_ones_count_overall():
    outcomes = (outcome(0, True, 1, 100), outcome(1, False, 1, 200), outcome(2, True, -1, 300))
    rows = [row(0, 10, policy_version=1), row(1, 60, policy_version=2), row(2, 110, 0)]
    earlier = report("arm-0", "device", 1, rows=rows, outcomes=outcomes)
    later = report("arm-1", "device", 2, rows=[row(0, 900, policy_version=2)])
    record = recorded([earlier, later])
    first, second = record.versions()
    assert (first.version, first.episodes, first.successes, first.rate) == (1, 2, 1, 0.5)
    assert (second.version, second.episodes, second.rate) == (2, 0, 0.0)
    assert second.live_ns == 65 * MS
    ended_ns, success = record.outcomes()
    assert ended_ns.tolist() == [100 * MS, 200 * MS, 300 * MS]
    assert success.tolist() == [True, False, True]


def test_a_goal_ends_no_run_before_its_last_fault_is_over():
    rows, outcomes = [row(0, 10, policy_version=1)], (outcome(0, True, 1, 100),)
    record = recorded([report("arm-0", "device", 1, rows=rows, outcomes=outcomes)])
    lasting = resolve(DeploymentFile(name="x", run=RunConfig(until_success=0.9, until_episodes=1)))
    fault = Crash(at_s=5, for_s=2, target="edge")
    assert goal_reached(lasting, 1.0, record)
    disturbed = msgspec.structs.replace(lasting, fault=(fault,))
    assert not goal_reached(disturbed, 6.999, record)
    assert goal_reached(disturbed, 7.0, record)


def test_of_tiers_that_start_at_once_one_says_what_is_run(tmp_path):
    out = tmp_path / "run"
    asked = [
        resolve(DeploymentFile(name="x", run=RunConfig(duration_s=float(s)))) for s in range(10, 18)
    ]

    def start(deployment):
        try:
            prepare(out, deployment)
        except UserError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(asked)) as pool:
        said = [*pool.map(start, asked)]
    (first,) = (d for d, words in zip(asked, said, strict=True) if not words)
    assert msgspec.json.decode((out / "deployment.json").read_bytes(), type=Deployment) == first
    differs = f"(run.duration_s is {first.run.duration_s} there and "
    assert all(differs in words for words in said if words)
    assert start(first) == ""
    assert {p.name for p in out.iterdir()} == {"deployment.json", "logs", "parts", "state"}


def test_faults_are_counted_as_a_reader_counts():
    names = ["fault.crash", "died", "restarted", "fault.over", "fault.clock_step"]
    told = told_faults({"faults": [{"fault": name} for name in names]})
    assert told == "planned: 2, process deaths: 1"
    assert told_faults({"faults": []}) == ""


def test_watts_come_from_the_last_two_reports():
    reports = [
        report("arm-0", "device", t, counters={"energy_j.base": j, "other": 1e6})
        for t, j in ((1, 10.0), (2, 20.0), (4, 50.0))
    ]
    (life,) = recorded(reports).of("device")
    assert life.watts == pytest.approx(15.0)


def test_percentiles_of_nothing_are_null_and_of_something_near():
    samples = Stretches()
    assert percentiles(samples, 1) == {
        "n": 0, "p50": None, "p90": None, "p99": None, "p99_9": None, "max": None,
    }  # fmt: skip
    samples.add(0, S, 1000 * np.arange(1001))
    near = {"p50": 500, "p90": 900, "p99": 990, "p99_9": 999}
    assert percentiles(samples, 1000) == pytest.approx({"n": 1001, **near, "max": 1000}, rel=2e-3)


def judged(rows, audit=CLEAN, **counters):
    record = recorded([report("arm-0", "device", 1, rows=rows, counters=counters)])
    return {k: n for k, n in invariants(record, audit).items() if n}


def test_each_invariant_sees_its_violation():
    good = [row(0, 0, 5), row(1, 50, 5), row(2, 100, 400)]
    assert judged(good) == {}
    assert judged([*good, row(3, 150, 450)]) == {}, "in time, and then it took a while to write"
    assert judged([*good, row(3, 150, 451)]) == {"stale_action": 1}
    assert judged([row(0, 0, 80), row(1, 50, 5)]) == {"action_order": 1}
    assert judged(good, CLEAN._replace(duplicate=2)) == {"exactly_once": 2}
    assert judged(good, CLEAN._replace(missing=3)) == {"nothing_acked_lost": 3}
    assert judged(good, CLEAN._replace(altered=1)) == {"nothing_altered": 1}
    assert judged(good, **{"invariant.stale_action": 4.0}) == {"stale_action": 4}
    assert judged(good, **{"invariant.limits": 1.0}) == {"limits": 1}
    assert judged(good, **{"ticks.due": 100.0, "ticks": 95.0, "missed": 4.0}) == {}
    assert judged(good, **{"ticks.due": 100.0, "ticks": 95.0, "missed": 2.0}) == {
        "ticks_uncounted": 2
    }


def test_a_cloud_whose_workers_never_came_up_fails_the_run():
    def unraised(*gauges, lived_s=0, failed=1.0):
        lives = [
            report(
                "cloud", "cloud", boot + at_s, boot=boot, counters={"failed.raise": failed},
                gauges={"workers.up": g} if g is not None else {},
            )
            for boot, g in enumerate(gauges, 1) for at_s in (0, lived_s)
        ]  # fmt: skip
        return invariants(recorded(lives), CLEAN)["workers_up"]

    assert unraised() == unraised(None) == unraised(1.0) == 0
    assert unraised(0.0) == unraised(1.0, 0.0) == 1
    assert unraised(0.0, 1.0) == 0
    assert unraised(0.0, None) == 0, "it was not open yet"
    assert unraised(0.0, lived_s=29, failed=0.0) == 0, "it was still at it"
    assert unraised(0.0, lived_s=30, failed=0.0) == 1
    assert unraised(1.0, lived_s=60, failed=0.0) == 0


def test_a_step_back_that_the_edge_has_not_recorded_is_seen():
    def steps(*versions: int, action: str = "activate"):
        return CLEAN._replace(
            steps=tuple(Entry(action=action, version=v, digest="", instead_of=-1) for v in versions)
        )

    def acted(*versions: int):
        return [row(n, 50 * n, 5, policy_version=v) for n, v in enumerate(versions)]

    back = (Entry(action="rollback", version=1, digest="", instead_of=2),)
    recorded_back = CLEAN._replace(steps=steps(1, 2).steps + back)
    assert judged(acted(1, 1, 2, 3), steps(1, 2, 3)) == {}
    assert judged(acted(1, 3), steps(1, 2, 3)) == {}
    assert judged(acted(1, 2, 1), recorded_back) == {}
    assert judged(acted(1, 2, 1), steps(1, 2)) == {"version_regress": 1}
    assert judged(acted(1), steps(1, 2, 1)) == {"version_regress": 1}
    assert judged(acted(2, 1)) == {}, "no edge on this host"


def test_messages_from_nowhere_are_seen_unless_a_death_took_counts_along():
    def reports(received: float):
        return [
            report("arm-0", "device", 1, counters={"link.observation.sent": 10.0}),
            report("edge", "edge", 1, counters={"link.observation.received": received}),
            report("cloud", "cloud", 1),
        ]

    def found(reports):
        return invariants(recorded(reports), CLEAN)["conservation"]

    assert found(reports(9)) == 0
    assert found(reports(12)) == 2
    assert found(reports(12)[:2]) == 0, "a tier was not heard"
    came = {"link.down.duplicated": 2.0, "link.down.delivered": 2.0}
    twice = report("arm-1", "device", 1, counters=came)
    assert found([*reports(12), twice]) == 0, "the link brought two of them twice"
    assert found([*reports(12), *roof(0, 2, (1, "died", "edge"))]) == 0


SUMMARY_KEYS = {
    "schema_version": int, "deployment": str, "clock": str, "seed": int, "duration_s": float,
    "host": dict, "robots": list, "success": dict, "policy_versions": list,
    "action_age_ms": dict, "oldest_age_ms": dict, "first_use_age_ms": dict,
    "round_trip_ms": dict, "tick_lateness_us": dict, "ticks": dict,
    "decisions": dict, "energy_j": dict, "experience": dict, "cloud": dict, "faults": list,
    "invariants": dict, "not_judged": list, "damaged": list, "lacks": list, "unkept": list,
    "left_out": list,
    "trace_sha256": type(None), "planned_s": float, "ended": str,
    "silence": list, "validity_ms": float, "lived_against_twin": dict, "extrapolated": list,
}  # fmt: skip


def test_the_summary_has_every_key_and_its_figures_are_right(tmp_path):
    fill(tmp_path, short_run())
    join(tmp_path)
    s = json.loads((tmp_path / "summary.json").read_text())
    assert {key: type(value) for key, value in s.items()} == SUMMARY_KEYS
    assert (s["clock"], s["seed"], s["duration_s"], s["robots"]) == (
        "wall", 1, 10.0, ["arm-0", "arm-1"],
    )  # fmt: skip
    assert s["success"] == {"episodes": 6, "successes": 3, "success_rate": 0.5}
    v0, v1 = s["policy_versions"]
    assert v0["live_at_s"] == pytest.approx(1.004)
    assert (v0["episodes"], v0["success_rate"], v1["successes"], v1["success_rate"]) == (
        2,
        0,
        3,
        0.75,
    )
    assert {"version", "parents", "digest"} < set(v0)
    for key in (
        "action_age_ms",
        "oldest_age_ms",
        "first_use_age_ms",
        "round_trip_ms",
        "tick_lateness_us",
    ):
        assert list(s[key]) == ["n", "p50", "p90", "p99", "p99_9", "max"]
    ages = s["action_age_ms"]
    assert (ages["n"], ages["p50"], ages["max"]) == (200, pytest.approx(7, rel=2e-3), 10)
    assert s["round_trip_ms"]["max"] == 3
    assert s["tick_lateness_us"]["max"] == 69.9
    assert s["ticks"] == {"n": 4800, "missed": 6}
    assert s["decisions"]["by_tier"] == {"none": 2, "device": 0, "edge": 200, "cloud": 0}
    assert s["decisions"]["refused"]["expired"] == 4
    assert s["decisions"]["fallback"]["hold"] == 0.5
    assert s["energy_j"]["device"] == {
        "actuation": 60, "compute": 0, "radio": 0, "sensing": 0, "base": 100,
        "conversion": 0, "battery": 0,
    }  # fmt: skip
    assert (s["energy_j"]["edge"], s["energy_j"]["cloud"]) == (200, 600)
    assert s["energy_j"]["robots"] == {"arm-0": 80.0, "arm-1": 80.0}
    assert (s["energy_j"]["acting"], s["energy_j"]["learning"]) == (360.0, 600.0)
    assert s["energy_j"]["per_success"] == 120
    assert s["energy_j"]["source"] == "model"
    assert s["experience"] == {
        "produced": 40, "acked": 0, "stored": 0, "refused": 0, "waiting": 0, "waiting_device": 0,
        "shed": 3, "lost": 0, "duplicate": 0, "missing": 0, "altered": 0, "checked": False,
    }  # fmt: skip
    assert s["faults"] == [
        {"at_s": 4.0, "process": "edge", "fault": "died", "detail": "killed by SIGKILL"},
        {"at_s": 4.3, "process": "edge", "fault": "restarted", "detail": ""},
    ]
    assert not any(s["invariants"].values())


def test_the_ledger_has_a_row_a_decision_with_documented_columns(tmp_path):
    fill(tmp_path, short_run())
    join(tmp_path)
    table = pq.read_table(tmp_path / "ledger.parquet")
    assert table.column_names == ["device", "boot", *(column.name for column in LEDGER)]
    assert table.num_rows == 202
    assert table.column("device").to_pylist() == ["arm-0"] * 101 + ["arm-1"] * 101
    assert table.column("seq").to_pylist() == [*range(101), *range(101)]
    assert all(field.metadata[b"doc"] for field in table.schema)


def test_the_report_stands_alone(tmp_path):
    fill(tmp_path, short_run())
    join(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 6
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(link.startswith("#") for link in links), "refers to something outside"
    assert not re.search(r"#0[0-9a-b]000\d|#01010|#02020|#03030", page), (
        "a colour is not the page's"
    )
    for words in (
        "0.75",
        "v0 (2)",
        "killed by SIGKILL",
        "valid until 400 ms",
        "prefers-color-scheme",
    ):
        assert words in page


def test_an_empty_run_still_makes_a_record(tmp_path):
    fill(tmp_path, [*roof(1, 2), report("arm-0", "device", 1.5)])
    s = join(tmp_path)
    assert s["success"]["success_rate"] is None
    assert s["energy_j"]["per_success"] is None
    assert pq.read_table(tmp_path / "ledger.parquet").num_rows == 0
    assert (run_code(s, interrupted=True), run_code(s, interrupted=False)) == (4, 1)


def test_a_run_is_judged_by_its_invariants_first(tmp_path):
    fill(tmp_path, short_run())
    s = join(tmp_path)
    assert run_code(s, interrupted=False) == 0
    assert run_code(s | {"invariants": {"stale_action": 1}}, interrupted=False) == 1
    words = dict(headlines(s))
    assert words["success of v1"] == "0.75  (3 of 4 episodes)"
    assert words["invariants"].startswith("all")
    assert words["experience segments"].endswith("(not checked: this record has no cloud store)")


def test_a_folder_without_a_record_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="not a record of a run"):
        join(tmp_path)
    fill(tmp_path, [])
    with pytest.raises(UserError, match="no reports"):
        join(tmp_path)
    assert not (tmp_path / "summary.json").exists()


def test_wilsons_interval():
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-3)
    assert wilson(18, 20) == pytest.approx((0.6990, 0.9721), abs=1e-3)


def test_the_shipped_deployment_is_the_demo():
    shipped = deployment()
    assert shipped.name == "sorting-cell"
    assert shipped.run.until_success >= 0.9
    assert shipped.run.until_episodes >= 20
    assert len(shipped.scenario.robots) == 2


@pytest.mark.parametrize(
    "other", [{"decisions": np.zeros((1, 30), np.int64)}, {"decisions": np.zeros((0, 0), np.int64)},
              {"ages_ns": np.zeros((0, 0), np.int64)}],
)  # fmt: skip
def test_another_versions_ledger_is_refused_in_one_line(tmp_path, other):
    fill(tmp_path, [*short_run(), msgspec.structs.replace(report("arm-0", "device", 110), **other)])
    with pytest.raises(UserError, match="use the version that wrote it"):
        join(tmp_path)
