"""From samples to lines, the document, its formats and the exit code."""

import json
import re
import xml.etree.ElementTree as ET

import jsonschema
import numpy as np
import pytest
from rich.console import Console

from tierloop.bench import outputs, suite, verdicts, words
from tierloop.bench.page import comparable, page, row
from tierloop.bench.protocol import Benchmark, Series, by_turns
from tierloop.bench.statistics import Verdict
from tierloop.contract.budget import Budget, Metric

TRIP = Metric("trip", "us")
BYTES = Metric("size", "B", "Observation", "none")


def blocks(level, count=12, samples=60, seed=0):
    rng = np.random.default_rng(seed)
    return [level * rng.lognormal(0, 0.05, samples) for _ in range(count)]


def limit(value, unit="x", metric="trip", **more):
    return Budget(metric=metric, limit=value, unit=unit, **more)


def bench(series, name="toy", metrics=(TRIP,)):
    def run(seconds):
        if isinstance(series, Exception):
            raise series
        return series

    return Benchmark(name, "How far?", "nothing at all", metrics, run)


def measured(series, budgets, **more):
    results, _ = suite.run([bench(series, **more)], 1.0, budgets, Console(quiet=True))
    return verdicts.document(results, ())


@pytest.mark.parametrize(
    ("value", "unit", "verdict", "code"),
    [
        (1.5, "x", Verdict.FAIL, 3),
        (2.5, "x", Verdict.PASS, 0),
        (2.0, "x", Verdict.INCONCLUSIVE, 4),
        (150, "us", Verdict.FAIL, 3),
        (250, "us", Verdict.PASS, 0),
    ],
)
def test_a_budget_is_judged_in_its_own_unit(value, unit, verdict, code):
    series = [Series(TRIP, blocks(200), blocks(100, seed=1))]
    document = measured(series, [limit(value, unit)])
    (line,) = document.results[0].lines
    assert (line.verdict, document.exit_code) == (verdict, code)


@pytest.mark.parametrize(
    ("fresh", "verdict"), [(False, Verdict.INCONCLUSIVE), (True, Verdict.PASS)]
)
def test_what_one_process_took_is_as_uncertain_as_processes_differ(fresh, verdict):
    series = [Series(TRIP, blocks(195), blocks(100, seed=1), fresh=fresh)]
    document = measured(series, [limit(2.05)])
    assert document.results[0].lines[0].verdict is verdict


def test_a_broken_budget_is_told_in_one_line_with_metric_limit_figure_and_interval():
    document = measured([Series(TRIP, blocks(200), blocks(100, seed=1))], [limit(1.3)])
    (remark,) = words.remarks(document)
    assert remark.startswith("budget exceeded: trip p50 is ")
    for part in ("x the baseline", "99% interval 1.", "limit 1.3x"):
        assert part in remark
    assert "\n" not in remark


@pytest.mark.parametrize(("count", "samples", "q"), [(3, 500, 50), (12, 3, 99)])
def test_too_little_is_inconclusive_and_says_of_what_there_was_too_little(count, samples, q):
    series = [Series(TRIP, blocks(100, count, samples), blocks(100, count, samples))]
    document = measured(series, [limit(9, percentile=q)])
    assert document.exit_code == 4
    assert "too few" in document.results[0].lines[0].why


@pytest.mark.parametrize("series", [[], [Series(TRIP, ())], [Series(TRIP, (np.empty(0),))]])
def test_a_run_that_did_no_work_fails(series):
    document = measured(series, [limit(9, "us")])
    assert document.exit_code == 3
    assert "no work was done" in words.remarks(document)[0]


def test_so_does_one_without_a_budget_on_what_it_promised():
    assert measured([], []).exit_code == 3


def test_a_missing_baseline_fails_a_budget_in_multiples_of_it():
    document = measured([Series(TRIP, blocks(1))], [limit(9)])
    assert document.results[0].lines[0].why == "its baseline was not measured"
    assert document.exit_code == 3


def test_nothing_has_no_ratio_to_nothing():
    series = [Series(TRIP, (np.zeros(1),), (np.zeros(1),), exact=True)]
    assert measured(series, [limit(0, "us")]).exit_code == 0
    assert measured(series, [limit(2)]).exit_code == 3


def test_a_crash_is_exit_1_and_the_others_go_on():
    good = bench([Series(TRIP, blocks(1), blocks(1))])
    bad = bench(RuntimeError("the edge does not answer\nmore"), "bad")
    results, _ = suite.run([bad, good], 1.0, [limit(2)], Console(quiet=True))
    document = verdicts.document(results, ())
    assert document.exit_code == 1
    assert results[0].error == "RuntimeError: the edge does not answer"
    assert results[1].lines[0].verdict is Verdict.PASS


def test_what_has_no_budget_breaks_the_check():
    results, _ = suite.run(
        [bench([Series(TRIP, blocks(1), blocks(1))])], 1.0, [limit(2)], Console(quiet=True)
    )
    assert verdicts.document(results, ["stream Beat"]).exit_code == 3


@pytest.mark.parametrize(("size", "code"), [(160.0, 0), (161.0, 3)])
def test_an_exact_figure_is_a_hard_gate(size, code):
    series = [Series(BYTES, (np.array([size]),), exact=True)]
    budget = limit(160, "B", "size", scenario="Observation", clock="none")
    assert measured(series, [budget], metrics=(BYTES,)).exit_code == code


def test_an_exact_run_too_short_for_its_percentile_is_inconclusive():
    series = [Series(TRIP, (np.ones(50),), exact=True)]
    assert measured(series, [limit(2, "us", percentile=99)]).exit_code == 4
    series = [Series(TRIP, (np.ones(100),), exact=True)]
    assert measured(series, [limit(2, "us", percentile=99)]).exit_code == 0


def test_turns_alternate_and_end_with_the_time():
    order = []
    ours, bare = by_turns(
        0.05, lambda: order.append("a") or [1.0], lambda: order.append("b") or [2.0]
    )
    assert order[:4] == ["a", "b", "b", "a"]
    assert len(ours) == len(bare) == len(order) / 2
    assert by_turns(0.0, lambda: [1.0])[0][0] == 1.0


@pytest.fixture(scope="module")
def everything():
    series = [
        Series(TRIP, blocks(200), blocks(100, seed=1)),
        Series(BYTES, (np.array([100.0]),), (np.array([90.0]),), exact=True),
    ]
    budgets = [
        limit(2.5),
        limit(1.3, percentile=90),
        limit(9, percentile=99.9),
        limit(1, "us", percentile=10),
    ]
    crash = bench(ValueError("<&>\x1b"), "crash")
    results, _ = suite.run(
        [bench(series, metrics=(TRIP, BYTES)), crash], 1.0, budgets, Console(quiet=True)
    )
    return verdicts.document(results, ["stream Beat"]), series


def test_five_formats_come_out(tmp_path, everything):
    document, series = everything
    outputs.put(document, series, [document], tmp_path)
    assert outputs.read(tmp_path / outputs.JSON) == document
    schema = json.loads(outputs.SCHEMA_FILE.read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((tmp_path / outputs.JSON).read_bytes()), schema)
    _check_junit(ET.parse(tmp_path / outputs.JUNIT).getroot())
    text = (tmp_path / outputs.MARKDOWN).read_text()
    assert text.splitlines()[1].startswith("| --- | --- | --- | ---: |")
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    entries = json.loads((tmp_path / outputs.ACTION).read_bytes())
    assert all({"name", "unit", "value"} <= set(e) <= {"name", "unit", "value", "range", "extra"}
               for e in entries)  # fmt: skip
    assert len({entry["name"] for entry in entries}) == len(entries) == 5
    relative, absolute = entries[0], entries[3]
    (ratio,) = {line.ratio.value for r in document.results for line in r.lines if line.limit == 2.5}
    assert (relative["unit"], relative["value"]) == ("x", ratio)
    assert (absolute["unit"], absolute["value"]) == ("us", pytest.approx(187, abs=5))
    assert "ValueError: &lt;&amp;&gt;" in (tmp_path / outputs.MARKDOWN).read_text()
    text = (tmp_path / outputs.PAGE).read_text()
    assert text.count("<svg") == 10
    assert not re.search(r"""(src|href)=["'](http|//)""", text)
    with np.load(tmp_path / outputs.SAMPLES) as samples:
        assert np.array_equal(samples["trip/ours/3"], series[0].ours[3])


def test_the_page_shows_how_much_of_its_budget_each_figure_takes(everything):
    document, _ = everything
    (line, *_), *_ = (result.lines for result in document.results)
    shown = row([document, document], "toy", line)
    assert shown.share == pytest.approx(line.ratio.value / 2.5)
    ends = (line.ratio.value, line.ratio.low, line.ratio.high)
    assert shown.bar == pytest.approx([80 * end / 2.5 for end in ends])
    assert shown.spark.count(",") == 2
    assert row([document], "toy", line).spark == ""
    (far,) = (one for result in document.results for one in result.lines if one.limit == 1)
    assert row([document], "toy", far).bar == (100, 100, 100)
    text = page(document, [])
    assert f"width: {shown.bar[0]:.1f}%" in text
    assert "<details" not in text
    counts = [line.verdict for result in document.results for line in result.lines]
    for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE):
        assert re.search(rf"<b class=\"\w*\">{counts.count(verdict)}</b><small>{verdict}<", text)


def _check_junit(root):
    """The parts of the JUnit schema that readers rely on."""
    assert root.tag == "testsuites"
    for suite_ in root:
        assert suite_.tag == "testsuite"
        cases = suite_.findall("testcase")
        assert len(cases) == len(list(suite_)) == int(suite_.get("tests"))
        for kind, plural in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert sum(c.find(kind) is not None for c in cases) == int(suite_.get(plural))
        for case in cases:
            assert case.get("classname")
            assert case.get("name")
            assert float(case.get("time")) >= 0
    counts = {key: sum(int(s.get(key)) for s in root) for key in ("failures", "errors", "skipped")}
    assert counts == {"failures": 3, "errors": 1, "skipped": 1}


def test_the_published_schema_is_that_of_the_code():
    assert outputs.SCHEMA_FILE.read_bytes() == outputs.schema(), "python -m tierloop.bench.outputs"


def test_the_schema_refuses_what_is_none(everything):
    schema = json.loads(outputs.SCHEMA_FILE.read_bytes())
    document = json.loads(outputs.schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def test_history_is_what_lies_beside_and_only_like_machines_are_compared(tmp_path, everything):
    import msgspec

    document, _ = everything
    other = msgspec.structs.replace(
        document, at="2020-01-01", machine=msgspec.structs.replace(document.machine, cores=96)
    )
    for name, one in (("a", document), ("b", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / outputs.JSON).write_bytes(msgspec.json.encode(one))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / outputs.JSON).write_text("{")
    history = suite.history(tmp_path / "d")
    assert [h.at for h in history] == ["2020-01-01", document.at]
    assert comparable(document, history) == [document]
