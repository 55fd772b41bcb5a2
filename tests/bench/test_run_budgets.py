"""The budgets of a deployment: read strictly, judged on the record of a run."""

import pytest

from tierloop.bench.run_budgets import _missed
from tierloop.cli.app import main
from tierloop.contract.errors import UserError
from tierloop.stack.config.deployment import load

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


def conduct(tmp_path, monkeypatch, capsys, *tables):
    file = tmp_path / "plants.toml"
    file.write_text(PLANTS + "".join(tables))
    arguments = ["tierloop", "run", str(file), "--clock", "virtual", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", arguments)
    try:
        code = main()
    except SystemExit as ended:
        code = ended.code
    return code, capsys.readouterr().err


def test_the_share_of_missed_ticks_is_of_those_due():
    missed = _missed({"n": 100, "missed": 900}, virtual=True)
    assert missed.value == 0.9
    assert _missed({"n": 100, "missed": 100}, virtual=False).value == 0.5


def test_a_run_within_its_budgets_is_fine(tmp_path, monkeypatch, capsys):
    tables = budget(), budget("missed_ticks", 0.0, "share"), budget(clock="wall", limit=0.0)
    assert conduct(tmp_path, monkeypatch, capsys, *tables) == (0, "")


def test_a_broken_one_is_exit_3_and_one_line(tmp_path, monkeypatch, capsys):
    code, said = conduct(tmp_path, monkeypatch, capsys, budget(limit=0.1), budget())
    assert code == 3
    assert said.startswith("tierloop: budget exceeded: age_of_action p50 is ")
    assert said.endswith("ms, limit 0.1 ms\n")
    assert said.count("\n") == 1


def test_a_run_too_short_for_its_percentile_is_exit_4(tmp_path, monkeypatch, capsys):
    code, said = conduct(tmp_path, monkeypatch, capsys, budget(percentile=99.99))
    assert code == 4
    assert "inconclusive: age_of_action p99.99" in said


def test_a_run_without_success_breaks_a_budget_on_its_energy(tmp_path, monkeypatch, capsys):
    table = budget("energy_per_success", 1e9, "J")
    code, said = conduct(tmp_path, monkeypatch, capsys, table)
    assert code in (0, 3)
    assert (code == 3) == ("no work was done" in said)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (budget("age"), "budget 1 (age): unknown metric 'age'"),
        (budget(unit="x"), "budget 1 (age_of_action): a run has no baseline"),
    ],
)
def test_a_budget_about_nothing_stops_the_run_before_it_starts(
    tmp_path, monkeypatch, capsys, table, said
):
    code, heard = conduct(tmp_path, monkeypatch, capsys, table)
    assert code == 2
    assert said in heard
    assert not (tmp_path / "out").exists()


def test_a_mistake_in_the_file_names_its_line(tmp_path):
    file = tmp_path / "plants.toml"
    file.write_text(PLANTS + budget() + "limmit = 3\n")
    with pytest.raises(UserError, match=r"plants.toml:10: budget 1 \(age_of_action\): unknown key"):
        load(file)
