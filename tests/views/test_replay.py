"""A record read back: moments in order, a trace that keeps its format's rules, clear refusals."""

import gzip
import itertools
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from records import MS, S, fill, recorded, report, roof, row, short_run
from typer.testing import CliRunner

from tierloop.cli.app import app
from tierloop.contract.errors import UserError
from tierloop.contract.ledger import Refusal, Tier
from tierloop.contract.messages import Report
from tierloop.stack.record.disks import Journey
from tierloop.stack.record.folder import load
from tierloop.stack.record.record import Record
from tierloop.views.moments import late, moments, rows
from tierloop.views.perfetto import events, write
from tierloop.views.stepper import moved

ROOT = Path(__file__).parents[2]


def told(folder: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["replay", str(folder), *options], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path, short_run())
    return tmp_path


def test_every_decision_event_and_outcome_is_told_once_in_order():
    found = moments(recorded(short_run()))
    assert [m.at_ns for m in found] == sorted(m.at_ns for m in found)
    kinds = [m.what for m in found]
    assert kinds.count("decision") == 202
    assert kinds.count("success") + kinds.count("failure") == 6
    assert (kinds.count("switch"), kinds.count("died"), kinds.count("session")) == (2, 1, 2)


def test_a_slice_of_a_run_is_of_that_robot_and_time(folder: Path):
    lines = told(folder, "--device", "arm-1", "--from", "2", "--to", "2.5").splitlines()
    assert not [line for line in lines if "arm-0" in line]
    decisions = [line for line in lines if "decision" in line]
    assert [line.split("#")[1].split(",")[0] for line in decisions] == [
        str(n) for n in range(20, 30)
    ]
    assert "acted at age 9.00 ms" in decisions[6]
    assert "invariants: not known" in lines[-1]


def test_only_the_refused_or_late_are_told(folder: Path, tmp_path: Path):
    refused = row(0, 10, 0, received_ns=14 * MS, refused=Refusal.EXPIRED)
    slow = row(1, 60, 300, received_ns=61 * MS + 101 * MS)
    in_time = row(2, 110, 5, received_ns=111 * MS + 100 * MS)
    assert [late(one) for one in rows(np.array([refused, slow, in_time]))] == [True, True, False]
    assert told(folder, "--only", "late").count("no answer") == 2
    assert " decision " not in told(folder, "--only", "refused")


def test_that_nobody_reads_a_replay_to_its_end_is_no_failure(folder: Path):
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "tierloop", "replay", str(folder)]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writer)
    assert done.returncode == 0
    assert "Error" not in done.stderr


def test_the_cursor_steps_over_what_was_not_asked_for():
    found = moments(recorded(short_run()))
    first = moved(found, 0, "n")
    assert found[first].row
    event = moved(found, first, "e")
    assert event > first
    assert not found[event].row
    assert moved(found, moved(found, event, "n"), "p") < event
    last = len(found) - 1
    assert moved(found, last, "e") == last
    assert moved(found, 0, "x") == 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--device", "arm-9"), "choose one of: arm-0, arm-1"),
        (("--from", "3", "--to", "3"), "must be greater than --from 3"),
        (("--to", "nan"), "finite"),
        (("--trace", "x.json", "--device", "arm-0"), "whole run"),
        (("--trace", "nowhere/x.json"), "no such folder"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, options: tuple[str, ...], why: str):
    result = CliRunner().invoke(app, ["replay", str(folder), *options])
    assert isinstance(result.exception, UserError)
    assert why in str(result.exception)
    assert "\n" not in str(result.exception)


def test_records_of_other_versions_are_refused_for_what_they_are(folder: Path):
    (folder / "parts" / "arm-0.reports").write_bytes(b"\x04\x00\x00\x00oldy")
    for name in ("arm-1", "edge", "cloud", "roof"):
        (folder / "parts" / f"{name}.reports").unlink()
    with pytest.raises(UserError, match="no reports that this version can read"):
        load(folder)
    narrow = report("arm-0", "device", 1)
    fields = {name: getattr(narrow, name) for name in narrow.__struct_fields__}
    fill(folder, [Report(**fields | {"decisions": np.zeros((1, 19), np.int64)})])
    (folder / "parts" / "arm-0.reports").unlink()
    fill(folder, [Report(**fields | {"decisions": np.zeros((1, 19), np.int64)})])
    with pytest.raises(UserError, match="19 columns"):
        load(folder)
    (folder / "deployment.json").write_text('{"odd": 1}')
    with pytest.raises(UserError, match="another version"):
        load(folder)


def crossing(**more: int) -> tuple[Record, list[Journey]]:
    """Two robots whose answers overlap, a policy that goes live, a segment that is stored."""
    given = {"tier": Tier.EDGE, "held_ns": 2 * MS, "compute_ns": MS, "batch": 2} | more
    reports = roof(0, 2, (0.5, "fault.link", "device_edge: outage"))
    for name in ("arm-0", "arm-1"):
        slow = [
            row(n, 100 + 50 * n, 80, received_ns=(170 + 50 * n) * MS, **given) for n in range(4)
        ]
        reports.append(report(name, "device", 1, rows=slow))
    reports.append(report("edge", "edge", 1, events=[(0.05, "policy_live", "v0 abc")]))
    reports.append(report("cloud", "cloud", 1))
    journeys = [Journey("arm-0", 0, 100 * MS, 250 * MS, 300 * MS)]
    return recorded(reports), journeys


def test_a_trace_keeps_the_rules_of_its_format():
    found = list(events(*crossing(), 0))
    slices, flows = defaultdict(list), defaultdict(list)
    for event in found:
        assert event["ts"] >= 0
        assert event["ph"] in "XstfiCM"
        if event["ph"] == "X":
            assert event["dur"] > 0
            slices[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        elif event["ph"] in "stf":
            flows[event["id"]].append(event)
    for lane in slices.values():
        lane.sort()
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(lane)), "they overlap"
    for flow in flows.values():
        assert [e["ph"] for e in flow] == ["s", *["t"] * (len(flow) - 2), "f"]
        assert [e["ts"] for e in flow] == sorted(e["ts"] for e in flow)
        for end in flow:
            lane = slices[end["pid"], end["tid"]]
            assert any(a <= end["ts"] < b for a, b in lane), "an arrow to nowhere"
    names = [flow[0]["name"] for flow in flows.values()]
    assert (names.count("decision"), names.count("policy"), names.count("experience")) == (8, 2, 1)
    used = {(e["pid"], e["tid"]) for e in found if e["ph"] == "X"}
    assert used <= {(e["pid"], e["tid"]) for e in found if e["name"] == "thread_name"}
    assert [e["args"]["detail"] for e in found if e["name"] == "fault.link"] == ["outage"]


def test_an_observation_crosses_to_the_edge_and_back_within_the_stated_bound():
    found = list(events(*crossing(), 0))
    held = next(e for e in found if e["name"] == "#0 held")
    away_us, sent_us = 69_000, 101_000
    assert held["dur"] == 2000
    assert held["args"]["bound_us"] == (away_us - 2000) / 2
    assert held["ts"] == sent_us + held["args"]["bound_us"]
    first = [e for e in found if e.get("id") == 1]
    assert len({e["pid"] for e in first}) == 2
    assert first[0]["pid"] == first[2]["pid"]


def test_where_the_edges_clock_is_known_the_slice_stands_when_it_held():
    record, journeys = crossing(up_ns=10_000_000, down_ns=57_000_000, way_bound_ns=500_000)
    held = next(e for e in events(record, journeys, 0) if e["name"] == "#0 held")
    assert (held["ts"], held["args"]["bound_us"]) == (101_000 + 10_000, 500)


def test_a_trace_is_json_plain_or_packed_and_holds_every_event(tmp_path: Path):
    record, journeys = crossing()
    plain, packed = tmp_path / "a.json", tmp_path / "a.json.gz"
    count = write(plain, record, journeys, 0)
    assert write(packed, record, journeys, 0) == count
    text = plain.read_text()
    assert gzip.decompress(packed.read_bytes()).decode() == text
    again = tmp_path / "b.json.gz"
    write(again, record, journeys, 0)
    assert again.read_bytes() == packed.read_bytes()
    assert len(json.loads(text)["traceEvents"]) == count == len(list(events(record, journeys, 0)))


def test_a_trace_of_a_run_is_written_whole(folder: Path):
    target = folder / "t.json"
    CliRunner().invoke(app, ["replay", str(folder), "--trace", str(target)], catch_exceptions=False)
    found = json.loads(target.read_text())["traceEvents"]
    assert sum(e["ph"] == "X" and e["name"].endswith("perceive") for e in found) == 202
    assert max(e["ts"] for e in found) <= 10 * S / 1e3
