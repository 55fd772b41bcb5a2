"""Budgets: complaints in one line, completeness, and that the project's own file is in order."""

import pytest

from tierloop.bench import budget, suite
from tierloop.bench.bench_command import default_budgets
from tierloop.contract.budget import Budget, Metric
from tierloop.contract.errors import UserError
from tierloop.contract.streams import STREAMS
from tierloop.stack.config import budget_tables

KNOWN = [Metric("round_trip", "us", "1 robot"), Metric("tick", "us"), Metric("tick", "us", "deep")]
GOOD = '[[budget]]\nmetric = "tick"\nlimit = 60\nunit = "us"\n'


def complaint(tmp_path, text):
    file = tmp_path / "b.toml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        budget.check(budget_tables.load(file), KNOWN)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "b.toml: contains no [[budget]] table"),
        ("budgett = 1\n", "b.toml:1: unknown key 'budgett'"),
        ("budget = 3\n", "b.toml:1: expected [[budget]] tables"),
        (GOOD + "percentil = 99\n", "budget 1 (tick): unknown key 'percentil'; did you mean"),
        (GOOD.replace('unit = "us"', ""), "budget 1 (tick): key 'unit': missing"),
        (GOOD.replace("60", '"60"'), "budget 1 (tick): key 'limit': expected float, got str"),
        (GOOD.replace("60", "-1"), "limit -1.0 must be finite and not negative"),
        (GOOD.replace("60", "nan"), "limit nan must be finite"),
        (GOOD + "percentile = 101\n", "percentile 101 must lie in (0, 100]"),
        (
            GOOD + 'clock = "lunar"\n',
            "budget 1 (tick): key 'clock': unknown clock 'lunar'; choose one of: wall, cpu",
        ),
        (GOOD + GOOD.replace("tick", "tock"), "b.toml:5: budget 2 (tock): unknown metric 'tock'"),
        (
            GOOD.replace("tick", "round_trip"),
            "no scenario '' on clock 'wall'; choose one of: '1 robot'",
        ),
        (
            GOOD.replace('"us"', '"ms"'),
            "unit 'ms' does not fit; tick is measured in 'us', or in 'x'",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path, text, said):
    assert said.lower() in complaint(tmp_path, text).lower()


def test_a_good_file_is_read_as_it_says(tmp_path):
    file = tmp_path / "b.toml"
    file.write_text(GOOD + 'percentile = 99\nscenario = "deep"\n')
    (placed,) = budget_tables.load(file)
    budget.check([placed], KNOWN)
    assert placed.budget == Budget(
        metric="tick", limit=60, unit="us", percentile=99, scenario="deep"
    )


def test_a_file_that_is_not_there_is_asked_for_as_what_it_is(tmp_path):
    with pytest.raises(UserError, match=r"gone\.toml: No such file.*; give a file of \[\[budget"):
        budget_tables.load(tmp_path / "gone.toml")


def test_every_stream_and_process_needs_a_line():
    lacking = budget.missing([])
    assert {f"stream {s.message.__name__}" for s in STREAMS} <= set(lacking)
    assert {"process device", "process edge", "process cloud", "process roof"} <= set(lacking)
    line = Budget(metric="codec", scenario="Observation", limit=1, unit="x", clock="cpu")
    assert set(lacking) - set(budget.missing([line])) == {"stream Observation"}


def test_the_projects_own_budgets_are_complete_and_about_what_is_measured():
    placed = budget_tables.load(default_budgets())
    budget.check(placed, [metric for one in suite.find(()) for metric in one.metrics])
    assert budget.missing(b for b, _ in placed) == []


def test_a_new_process_would_be_missed():
    from tierloop.stack.wall.processes import ROLES

    assert set(budget.PROCESSES) == {*ROLES, "roof"}


def test_the_long_ones_are_left_out_if_it_is_to_be_quick_unless_asked_for():
    def names(found):
        return [benchmark.name for benchmark in found]

    assert set(names(suite.find(()))) - set(names(suite.find((), quick=True))) == {
        "agreement",
        "cell",
        "late_answers",
    }
    assert names(suite.find(["cell"], quick=True)) == ["cell"]


def test_an_unknown_benchmark_is_the_users_mistake():
    with pytest.raises(UserError, match="unknown benchmark 'roundtrip'; did you mean 'round_trip'"):
        suite.find(["roundtrip"])


def test_a_new_benchmark_is_one_module_of_the_suite_s_folder(tmp_path, monkeypatch):
    folder = tmp_path / "questions"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "helper.py").write_text("")
    for name, long in (("a", True), ("b", False)):
        (folder / f"{name}.py").write_text(
            "from tierloop.bench.protocol import Benchmark\n"
            f"BENCHMARK = Benchmark({name!r}, '?', 'nothing', (), lambda _: [], {long})\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    assert [one.name for one in suite.benchmarks("questions")] == ["b", "a"]
