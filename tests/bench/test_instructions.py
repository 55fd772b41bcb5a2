"""Instructions: counted by callgrind, judged instead of times, and said where they cannot be."""

import platform
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from rich.console import Console
from travels import MICRO, missed

from tierloop.bench import outputs, suite, verdicts
from tierloop.bench.protocol import Benchmark, Series
from tierloop.bench.statistics import Verdict
from tierloop.benchmarks import codec, hand_over, serving, tick
from tierloop.benchmarks.rig import callgrind, hot
from tierloop.benchmarks.rig.counted import CALLS
from tierloop.contract.budget import Budget, Metric
from tierloop.device.chunks import ChunkPlan

TIME, COUNT = Metric("trip", "us", clock="cpu"), callgrind.metric("trip")
TIGHT = Budget(metric="trip", limit=2.2, unit="x", clock="instructions")
WIDE = Budget(metric="trip", limit=3.0, unit="x", clock="cpu")

needs_callgrind = pytest.mark.skipif(not callgrind.can_count(), reason=callgrind.LACKING)


def time(ratio):
    return Series(TIME, [np.full(20, ratio)] * 12, [np.ones(20)] * 12)


def instructions(ratio):
    return Series(COUNT, (np.array([1000.0 * ratio]),), (np.array([1000.0]),))


def document(*series, budgets=(TIGHT, WIDE)):
    toy = Benchmark("toy", "How far?", "nothing", (TIME, COUNT), lambda _: list(series))
    results, _ = suite.run([toy], 1.0, budgets, Console(quiet=True))
    return verdicts.document(results, ())


@pytest.mark.parametrize(
    ("ratio", "verdict", "code"),
    [
        (2.0, Verdict.PASS, 0),
        (2.4, Verdict.FAIL, 3),
        (2.19, Verdict.INCONCLUSIVE, 4),  # another run may count one percent more
    ],
)
def test_instructions_are_judged_and_the_time_is_not(ratio, verdict, code):
    found = document(time(9.0), instructions(ratio))
    of_time, counted = found.results[0].lines
    assert (of_time.verdict, counted.verdict) == (Verdict.NOT_JUDGED, verdict)
    assert of_time.why == "its instructions are"
    assert found.exit_code == code


NOTHING = [np.empty(0)] * 12


@pytest.mark.parametrize(
    "unmeasured", [Series(TIME, ()), Series(TIME, [np.ones(20)] * 12, NOTHING)]
)
def test_a_time_that_was_not_measured_fails_though_instructions_were_counted(unmeasured):
    found = document(unmeasured, instructions(2.0))
    assert found.results[0].lines[0].verdict is Verdict.FAIL
    assert found.exit_code == 3


def test_without_callgrind_the_time_is_judged_by_its_wide_limit_and_says_so():
    lacking = Series(COUNT, (), lacking=callgrind.LACKING)
    found = document(time(2.5), lacking)
    of_time, counted = found.results[0].lines
    assert (of_time.verdict, of_time.why) == (Verdict.PASS, "wide: no callgrind here")
    assert (counted.verdict, counted.why) == (Verdict.NOT_JUDGED, "no callgrind here")
    assert found.exit_code == 0
    text = outputs.markdown(found)
    assert "pass (wide: no callgrind here) |" in text
    assert "not judged (no callgrind here) |" in text
    (skipped,) = ET.fromstring(outputs.junit(found)).iter("skipped")
    assert skipped.get("message").startswith("not judged: trip p50: no callgrind here")
    assert document(time(4.0), lacking).exit_code == 3


def test_a_time_without_a_budget_in_instructions_is_judged():
    assert document(time(9.0), instructions(2.0), budgets=(WIDE,)).exit_code == 3


def test_what_is_counted_has_a_budget_in_instructions_and_a_wide_one_in_time(placed):
    counted = {*codec.COUNTED, *hand_over.COUNTED, *tick.COUNTED, *serving.COUNTED}
    assert {one for one in counted if not any(b.covers(one) for b in placed)} == set()
    in_time = {(b.metric, b.scenario) for b in placed if b.clock in verdicts.TIMES}
    assert {one.name for one in counted if (one.name, one.scenario) not in in_time} == {"serve"}


def counted_line(benchmark, verdict, scenario="", clock="instructions"):
    one = {"metric": benchmark, "scenario": scenario, "clock": clock, "verdict": verdict}
    return one | {"benchmark": benchmark}


def test_more_work_must_be_found_in_every_line_that_counts_it():
    lines = [counted_line(name, "fail") for name in MICRO]
    lines.append(counted_line("tick", "not judged", clock="wall"))
    lines.append(counted_line("tick", "inconclusive", "deciding"))
    assert missed(lines) == []
    assert missed([*lines, counted_line("codec", "pass", "Beat")]) == ["codec Beat"]
    assert missed(lines[1:]) == ["codec"]


@pytest.mark.parametrize("path", ["fading_tick", "fading_hand_over"])
def test_what_is_counted_is_always_amid_a_fade(path, monkeypatch):
    work, faded, fading = hot.HOT[path](), [], ChunkPlan._faded
    monkeypatch.setattr(ChunkPlan, "_faded", lambda *given: faded.append(given) or fading(*given))
    counts = []
    for _ in range(2 * CALLS):
        work()
        counts.append(len(faded))
    assert (np.diff(counts[CALLS:]) > 0).all()


@pytest.fixture
def placed():
    from tierloop.bench.bench_command import default_budgets
    from tierloop.stack.config import budget_tables

    return [budget for budget, _ in budget_tables.load(default_budgets())]


def test_where_valgrind_is_missing_nothing_is_counted(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    found = callgrind.counts("hand_over", hand_over.COUNTED)
    assert [(one.metric, one.lacking) for one in found] == [
        (callgrind.metric("hand_over"), callgrind.LACKING)
    ]


CANNOT_START = "valgrind:  Fatal error at startup: a function redirection"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (f"echo '{CANNOT_START}' >&2; echo 'valgrind:  Cannot continue' >&2; exit 1", CANNOT_START),
        ("exit 1", ""),
    ],
)
def test_a_valgrind_that_does_not_start_is_no_failure_of_the_work(
    tmp_path, monkeypatch, script, why
):
    (tmp_path / "valgrind").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "valgrind").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    (found,) = callgrind.counts("hand_over", hand_over.COUNTED)
    assert found.lacking == f"no callgrind here: exit 1 {why}".strip()


@needs_callgrind
@pytest.mark.slow  # counts twice; test_help has the benchmark count once
@pytest.mark.timeout(600)
def test_twenty_percent_more_work_is_twenty_percent_more_instructions(monkeypatch):
    (plain,) = callgrind.counts("hand_over", hand_over.COUNTED)
    monkeypatch.setattr(callgrind, "PLANTED_EVERY", 5)
    (slow,) = callgrind.counts("hand_over", hand_over.COUNTED)
    assert slow.ours[0][0] / plain.ours[0][0] == pytest.approx(1.2, abs=0.01)
    assert slow.bare[0][0] == pytest.approx(plain.bare[0][0], rel=0.01)


@needs_callgrind
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_count_the_same():
    found = [callgrind.counts("hand_over", hand_over.COUNTED) for _ in range(2)]
    (one, other) = ([series.ours[0][0] for series in run] for run in found)
    assert one == pytest.approx(other, rel=0.006)


@needs_callgrind
@pytest.mark.timeout(600)
def test_work_that_fails_is_an_error_and_no_lack_of_callgrind():
    with pytest.raises(RuntimeError, match="No module named"):
        callgrind.counts("gone", codec.COUNTED)
