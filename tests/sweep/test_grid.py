"""What is swept: how values are read, what a run is called, what is refused before it starts."""

import shlex
from pathlib import Path

import pytest

from tierloop.contract.errors import UserError
from tierloop.stack.config.deployment import load
from tierloop.sweep.grid import axis, grid

TEXT = 'name = "cell"\nseed = 5\n[run]\nuntil_success = 0.9\n[scenario]\nrobots = ["a"]\n'


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cell.toml"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize(
    ("option", "values", "numbers"),
    [
        ("a.b=0,50,300", ("0", "50", "300"), (0.0, 50.0, 300.0)),
        ("a = wifi, 5g", ("wifi", "5g"), None),
        ('a=["x","y"],["z"]', ('["x","y"]', '["z"]'), None),
        ("a={b=1,c=2},{b=3}", ("{b=1,c=2}", "{b=3}"), None),
        ('a="1,2",3', ('"1,2"', "3"), None),
        ("a=1", ("1",), (1.0,)),
    ],
)
def test_values_are_divided_at_commas_but_not_within_a_list_or_a_text(option, values, numbers):
    found = axis(option)
    assert (found.key, found.values, found.numbers) == (
        "a.b" if "." in option else "a",
        values,
        numbers,
    )


@pytest.mark.parametrize(
    "option", ["a", "=1,2", "a=", "a=1,,2", "a=1,", "a= ,1", "a=1,1", "seed=1,2"]
)
def test_what_is_no_axis_is_refused(option):
    with pytest.raises(UserError, match="--over") as caught:
        axis(option)
    assert "\n" not in str(caught.value)


def test_every_combination_meets_every_seed(file):
    whole = grid(file, ["scenario.scan_hz=10,15", "scenario.belt_low_m_s=0.05,0.06,0.07"], 2, [])
    assert len(whole.cells) == 12
    assert len({cell.name for cell in whole.cells}) == 12
    assert [cell.seed for cell in whole.cells[:2]] == [5, 6]
    assert whole.cells[0].values == ("10", "0.05")
    assert whole.cells[-1].deployment.scenario.belt_low_m_s == 0.07
    assert {cell.deployment.run.until_success for cell in whole.cells} == {0.0}


def test_the_command_of_a_run_makes_the_very_same_deployment(file):
    whole = grid(file, ['scenario.robots=["x"],["y","z"]'], 2, ["run.duration_s=9"])
    for cell in whole.cells:
        words = shlex.split(cell.command)
        sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        seed = words[words.index("--seed") + 1]
        assert words[:5] == ["tierloop", "run", str(file), "--clock", "virtual"]
        assert load(file, [*sets, f"seed={seed}"]) == cell.deployment


def test_the_name_of_a_run_follows_from_its_settings_and_the_files_they_name(file, tmp_path):
    def names():
        return [cell.name for cell in grid(file, ["scenario.scan_hz=10,15"], 2, []).cells]

    before = names()
    assert names() == before
    longer = [c.name for c in grid(file, ["scenario.scan_hz=15,10,20"], 3, []).cells]
    assert set(before) < set(longer)
    file.write_text(TEXT.replace('["a"]', '["b"]'))
    assert not set(before) & set(names())
    shipped = (Path(__file__).parents[2] / "stack/config/profiles/orin-nx.toml").read_text()
    (tmp_path / "host.toml").write_text(shipped)
    file.write_text(TEXT + '[edge]\nhardware = "host.toml"\n')
    one = names()
    (tmp_path / "host.toml").write_text(shipped.replace("jitter = ", "jitter = 0", 1))
    assert not set(one) & set(names())


@pytest.mark.parametrize(
    ("over", "sets", "expected"),
    [
        (["scenario.scan_hs=1,2"], [], "--over scenario.scan_hs: unknown key 'scan_hs'"),
        (["scenario.scan_hz=10,fast"], [], "--over scenario.scan_hz: key 'scan_hz'"),
        (["scenario.scan_hz=10", "scenario.scan_hz=15"], [], "the key is given twice"),
        (["scenario.scan_hz=10,15"], ["run.durations=3"], "--set run.durations: unknown key"),
    ],
)
def test_a_combination_that_makes_no_deployment_is_refused_in_one_line(file, over, sets, expected):
    with pytest.raises(UserError) as caught:
        grid(file, over, 1, sets)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
