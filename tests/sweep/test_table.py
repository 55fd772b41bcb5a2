"""The figures of a sweep against what they should be, and the charts against what is swept."""

import csv
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from tierloop.sweep import page, table
from tierloop.sweep.grid import grid


def summary(episodes, successes, joules, age=20.0, violations=0):
    return {
        "success": {"episodes": episodes, "successes": successes},
        "action_age_ms": {"p50": age, "p90": None if age is None else 2 * age},
        "energy_j": {
            "robots": {"a": joules - 10.0},
            "edge": 10.0,
            "cloud": 20.0,
            "acting": joules,
            "battery": {"a": {"battery_h": 8.0}, "b": {"battery_h": None}},
        },
        "invariants": {"action_order": violations},
    }


def test_a_line_pools_episodes_and_takes_joules_by_all_successes():
    one = table.line(("0",), [summary(20, 10, 100.0, 20.0), summary(20, 10, 300.0, 30.0)])
    assert (one.seeds, one.episodes, one.successes, one.success) == (2, 40, 20, 0.5)
    assert one.success_interval == pytest.approx((0.3520, 0.6480), abs=1e-4)  # Wilson's, by hand
    assert (one.age_p50_ms, one.age_p90_ms) == (25.0, 50.0)
    assert one.joules_per_success == 20.0
    assert (one.robot_j, one.edge_j, one.cloud_j, one.battery_h) == (190.0, 10.0, 20.0, 8.0)
    half = 12.7062 * 10  # Student's t of one degree, standard error of 10 and 30
    assert one.joules_interval == pytest.approx((0.0, 20 + half), rel=1e-4)
    assert one.age_p50_interval == pytest.approx((0.0, 25 + half / 2), rel=1e-4)


def test_seeds_that_differ_widen_the_interval_of_success_beyond_that_of_episodes():
    alike = table.line(("0",), [summary(100, 50, 1.0)] * 6)
    apart = table.line(("0",), [summary(100, n, 1.0) for n in (20, 80) * 3])
    assert alike.success == apart.success == 0.5
    low, high = apart.success_interval
    assert alike.success_interval[0] > 0.45
    assert low < 0.3
    assert high > 0.7


@pytest.mark.parametrize("seeds", [3, 5, 25])
def test_intervals_cover_the_truth_about_as_often_as_they_say(seeds):
    rng, covered = np.random.default_rng(3), np.zeros(2)
    for _ in range(400):
        rates = rng.beta(8, 2, seeds)
        runs = [
            summary(20, int(n), float(n * 7 + rng.normal(0, 30) + 200))
            for n in rng.binomial(20, rates)
        ]
        one = table.line(("0",), runs)
        truth = 0.8, (7 * 16 + 200) / 16
        ends = one.success_interval, one.joules_interval
        covered += [low < true < high for true, (low, high) in zip(truth, ends, strict=True)]
    assert (covered >= 0.91 * 400).all(), covered
    assert (covered <= 0.995 * 400).all(), covered


def test_where_nothing_succeeded_or_acted_there_is_no_figure():
    one = table.line(("0",), [summary(5, 0, 100.0, None), summary(5, 0, 100.0, None)])
    assert (one.success, one.age_p50_ms, one.joules_per_success) == (0.0, None, None)
    assert one.joules_interval is None
    none = table.line(("0",), [summary(0, 0, 100.0)])
    assert (none.success, none.success_interval) == (None, None)
    assert "—" in table.texts(none)
    assert table.line(("0",), [summary(5, 5, 100.0)]).joules_interval is None


@pytest.fixture
def swept(tmp_path):
    """Success falls with the delay for one policy and not for the other; one cell is missing."""
    file = tmp_path / "cell.toml"
    file.write_text('name = "cell"\n')
    over = ['scenario.robots=["far"],["near"]', "scenario.scan_latency_ms=100,0,30"]
    whole = grid(file, over, 2, [])
    figures = {}
    for cell in whole.cells[:-1]:
        harm = float(cell.values[1]) if "far" in cell.values[0] else 0.0
        figures[cell.name] = summary(50, round(50 - harm / 4), 500.0 + cell.seed)
    return whole, table.table_lines(whole, figures)


def test_the_csv_has_a_line_a_combination_and_says_how_many_seeds_there_are(swept):
    whole, found = swept
    rows = list(csv.DictReader(io.StringIO(table.to_csv(whole, found))))
    assert [row["scenario.scan_latency_ms"] for row in rows] == ["100", "0", "30"] * 2
    assert [row["seeds"] for row in rows] == ["2"] * 5 + ["1"]
    assert float(rows[0]["success"]) == 0.5
    assert float(rows[0]["success_low"]) < 0.5 < float(rows[0]["success_high"])
    assert rows[-1]["joules_low"] == ""


def test_the_svg_stands_alone_on_a_numeric_axis_with_one_curve_a_value_of_the_other_key(swept):
    text = page.figure(*swept)
    root = ElementTree.fromstring(text)
    words = [e.text for e in root.iter() if e.text]
    assert {"scenario.robots", '["far"]'} <= set(words)
    assert "scenario.scan_latency_ms" in words
    assert {"40", "80"} <= set(words), "the axis is numeric"
    variables = set(re.findall(r"var\((--\w+)\)", text))
    assert variables <= set(re.findall(r"(--\w+):", text))
    assert {"--s1", "--s2"} <= variables
    assert "--s3" not in variables
    assert not re.search(r"(href|src|url)\W{1,3}http", text.replace("http://www.w3.org", ""))


def test_curves_run_along_the_axis_whatever_the_order_of_the_values(swept):
    """The first chart's first curve: from the left to the right, success falling."""
    text = page.figure(*swept)
    curve = re.search(r'd="(M [^"]+)"[^>]*stroke: var\(--s1\)', text)
    points = [tuple(map(float, p.split()[1:])) for p in curve[1].strip().splitlines()]
    assert len(points) == 3
    assert points[0][0] < points[1][0] < points[2][0]
    assert points[0][1] < points[1][1] < points[2][1]  # y counts downwards in SVG


@pytest.mark.parametrize(("worst", "expected"), [(500.0, False), (50_000.0, True)])
def test_values_that_differ_by_orders_of_magnitude_get_a_logarithmic_axis(swept, worst, expected):
    whole, found = swept
    found[0] = found[0]._replace(joules_per_success=worst, joules_interval=None)
    words = [e.text for e in ElementTree.fromstring(page.figure(whole, found)).iter()]
    assert ({"100", "1000", "10000"} <= set(words)) is expected


def test_words_are_put_at_equal_distances(tmp_path):
    file = tmp_path / "cell.toml"
    file.write_text('name = "cell"\n')
    whole = grid(file, ["edge.hardware=orin-nx,thor"], 1, [])
    found = table.table_lines(whole, {c.name: summary(9, 8, 90.0) for c in whole.cells})
    words = [e.text for e in ElementTree.fromstring(page.figure(whole, found)).iter()]
    assert {"orin-nx", "thor"} <= set(words)


def test_the_page_is_self_contained_and_shows_every_line(swept):
    html = page.page("cell: a & b", "tierloop sweep <x>", *swept)
    assert "a &amp; b" in html
    assert "sweep &lt;x&gt;" in html
    assert html.count("<svg") == 3
    assert html.count("<tr>") == 1 + 6
    assert "http-equiv" not in html
    assert "<script" not in html
    assert "<link" not in html
