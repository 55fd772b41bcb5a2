"""The budgets of a deployment: read strictly, judged on the record of a run."""

import io
import json
import xml.etree.ElementTree as ET
from contextlib import redirect_stderr

import pytest

from tierloop.bench.run_budgets import _missed, verdict
from tierloop.cli.app import main
from tierloop.contract.errors import UserError
from tierloop.stack.config.deployment import load
from tierloop.stack.record.folder import load as recorded

PLANTS = """name = "plants"
[run]
duration_s = 12
[scenario]
task = "reach"
body = "plant"
robots = ["plant-0", "plant-1"]
[learner]
rounds_max = 0
"""


def budget(metric="age_of_action", limit=100.0, unit="ms", percentile=50, clock="virtual"):
    return (
        f'[[budget]]\nmetric = "{metric}"\nlimit = {limit}\nunit = "{unit}"\n'
        f'percentile = {percentile}\nclock = "{clock}"\n'
    )


def conduct(folder, *tables):
    """Exit code and standard error of a run with these budgets, whose record is `folder/out`."""
    (folder / "plants.toml").write_text(PLANTS + "".join(tables))
    words = ["run", str(folder / "plants.toml"), "--clock", "virtual", "--out", str(folder / "out")]
    heard = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(heard):
        patch.setattr("sys.argv", ["tierloop", *words])
        try:
            code = main()
        except SystemExit as ended:
            code = ended.code
    return code, heard.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run that breaks the first of its two budgets: its folder, exit code and words."""
    folder = tmp_path_factory.mktemp("run")
    others = budget(clock="wall"), budget("decision", unit="us", clock="wall")
    return folder, *conduct(folder, budget(limit=0.1), budget(), *others)


@pytest.fixture
def judged(run, tmp_path, capsys):
    """Exit code and words of other budgets on the record of that run."""
    _, record = recorded(run[0] / "out")
    summary = json.loads((run[0] / "out" / "summary.json").read_bytes())

    def judge(*tables):
        (tmp_path / "plants.toml").write_text(PLANTS + "".join(tables))
        code = verdict(record, summary, load(tmp_path / "plants.toml").budget, tmp_path)
        return code, capsys.readouterr().err

    return judge


def test_the_share_of_missed_ticks_is_of_those_due():
    missed = _missed({"n": 100, "missed": 900}, virtual=True)
    assert missed.value == 0.9
    assert _missed({"n": 100, "missed": 100}, virtual=False).value == 0.5


def test_a_run_within_its_budgets_is_fine(judged):
    tables = budget(), budget("missed_ticks", 0.0, "share"), budget(clock="wall", limit=0.0)
    assert judged(*tables) == (0, "")


def test_a_broken_one_is_exit_3_and_one_line(run):
    _, code, said = run
    assert code == 3
    assert said.startswith("tierloop: budget exceeded: age_of_action p50 is ")
    assert said.endswith("ms, limit 0.1 ms\n")
    assert said.count("\n") == 1


def test_the_record_has_the_verdicts_for_a_ci(run):
    out = run[0] / "out"
    suite = ET.parse(out / "junit.xml").getroot()[0]
    assert (suite.get("name"), suite.get("failures"), suite.get("skipped")) == ("plants", "1", "2")
    said = [case[0].get("message", "") for case in suite]
    assert said[0].startswith("age_of_action p50 is ")
    assert said[2].endswith("for the wall clock")
    assert said[3].endswith("for `tierloop bench`")
    table = (out / "budgets.md").read_text()
    assert table.count("**fail**") == 1
    assert table.count("not judged (for ") == 2


def test_a_run_without_budgets_has_no_such_files(tmp_path):
    assert conduct(tmp_path)[0] == 0
    assert not (tmp_path / "out" / "junit.xml").exists()


@pytest.mark.parametrize(
    ("metric", "unit"), [("failed_episodes", "share"), ("fallback", "share"), ("robot_j", "J")]
)
def test_success_rungs_and_joules_of_a_robot_can_be_budgets(judged, metric, unit):
    assert judged(budget(metric, 1e6, unit)) == (0, "")
    code, said = judged(budget(metric, 0.0, unit))
    assert (code, said.split(" is ")[0]) == (3, f"tierloop: budget exceeded: {metric} p50")


def test_a_run_too_short_for_its_percentile_is_exit_4(judged):
    code, said = judged(budget(percentile=99.99))
    assert code == 4
    assert "inconclusive: age_of_action p99.99" in said


def test_a_run_without_success_breaks_a_budget_on_its_energy(judged):
    code, said = judged(budget("energy_per_success", 1e9, "J"))
    assert code in (0, 3)
    assert (code == 3) == ("no work was done" in said)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (budget("age"), "budget 1 (age): unknown metric 'age'"),
        (budget(unit="x"), "budget 1 (age_of_action): a run has no baseline"),
    ],
)
def test_a_budget_about_nothing_stops_the_run_before_it_starts(tmp_path, table, said):
    code, heard = conduct(tmp_path, table)
    assert code == 2
    assert said in heard
    assert not (tmp_path / "out").exists()


def test_a_mistake_in_the_file_names_its_line(tmp_path):
    file = tmp_path / "plants.toml"
    file.write_text(PLANTS + budget() + "limmit = 3\n")
    with pytest.raises(UserError, match=r"plants.toml:10: budget 1 \(age_of_action\): unknown key"):
        load(file)
