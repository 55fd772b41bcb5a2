"""`tierloop same`: equal checkouts are equal, one byte of difference is found and named."""

import shutil
from pathlib import Path

import pytest

from tierloop import contract
from tierloop.bench import same as s
from tierloop.bench import same_command
from tierloop.bench.checkout import Side
from tierloop.contract.errors import UserError

HERE = Path(contract.__path__[0]).resolve().parent
LINKS = Path("link/presets.py")
SHORT = s.CASES["plant-wifi"]
SHORT = (*SHORT[: SHORT.index("--for") + 1], "0.3", *SHORT[SHORT.index("--for") + 2 :])


@pytest.fixture
def other(tmp_path):
    """A checkout like this one, without benchmarks, whose wifi delays by 0.6 ms, not 0.5."""
    shutil.copytree(HERE / "tierloop", tmp_path / "other" / "tierloop", symlinks=True)
    rooms = {link.name for link in (HERE / "tierloop").iterdir() if link.is_symlink()}
    for room in {*rooms, "pyproject.toml"} - {"benchmarks"}:
        if room == "link":
            shutil.copytree(HERE / room, tmp_path / "other" / room)
        else:
            (tmp_path / "other" / room).symlink_to(HERE / room)
    source = (tmp_path / "other" / LINKS).read_text()
    assert source.count("_direction(0.5,") == 1
    (tmp_path / "other" / LINKS).write_text(source.replace("_direction(0.5,", "_direction(0.6,"))
    return tmp_path / "other"


def test_one_byte_of_difference_is_found_and_the_case_without_it_is_equal(
    other, monkeypatch, capsys
):
    monkeypatch.setattr(s, "CASES", {"wifi": SHORT, "fuzz-0": s.CASES["fuzz-0"]})
    assert same_command.same(str(HERE), str(other), ["wifi"]) == 3
    out, err = capsys.readouterr()
    first, key, _ = out.splitlines()
    assert first.startswith("wifi            1 key differs")
    assert key.startswith('  trace_sha256: "')
    assert err == "tierloop: different: wifi\n"
    assert same_command.same(str(HERE), str(other), ["fuzz-0"]) == 0
    assert f"{other} equals {HERE} in 1 of 1 cases" in capsys.readouterr().out


def test_a_case_that_does_not_run_says_why(other, monkeypatch, capsys):
    (other / LINKS).write_text("raise OSError('broken')\n")
    monkeypatch.setattr(s, "CASES", {"wifi": SHORT})
    assert same_command.same(str(other), str(HERE), ()) == 1
    out, err = capsys.readouterr()
    assert f"wifi            does not run: {other}: exit 1: OSError: broken\n" in out
    assert err == "tierloop: does not run: wifi\n"


def test_another_exit_code_is_a_difference(tmp_path):
    sides = []
    for code in (0, 3):
        (tmp_path / f"{code}").mkdir()
        (tmp_path / f"{code}" / "case.py").write_text(
            "import sys; from pathlib import Path; out = Path(sys.argv[1]); out.mkdir()\n"
            """(out / "summary.json").write_text('{"trace_sha256": "0"}')\n"""
            f"sys.exit({code})"
        )
        sides.append(Side(f"{code}", tmp_path / f"{code}"))
    assert s.run(*sides, ("-m", "case", "{out}")).differences == [("exit_code", "0", "3")]


def test_every_key_is_compared_but_those_of_the_machine():
    base = {"a": {"b": [1, 2], "host": 1}, "host": {"cpus": 2}, "gone": None, "empty": {}, "n": 1}
    head = {"a": {"b": [1, 3, 4], "host": 2}, "host": {"cpus": 4}, "empty": [], "n": 1.0, "new": ""}
    assert s.differences(base, base) == []
    assert s.differences(base, head) == [
        ("a.b.1", "2", "3"),
        ("gone", "null", "absent"),
        ("empty", "{}", "[]"),
        ("n", "1", "1.0"),
        ("a.b.2", "absent", "4"),
        ("new", "absent", '""'),
    ]


def test_an_unknown_case_is_a_mistake_of_the_user():
    with pytest.raises(UserError, match="unknown case 'cell-4'; did you mean 'cell-"):
        same_command.same("HEAD", "HEAD", ["cell-4"])


def test_the_list_has_the_cases_that_it_promises():
    cells = [f"cell-{seed}" for seed in (1, 2, 3)]
    plants = [f"plant-{name}" for name in ("none", "ethernet", "wifi", "5g", "lte", "satellite")]
    seeds = [f"fuzz-{seed}" for seed in range(20)]
    assert list(s.CASES) == [*cells, *plants, "bad-day", *seeds]
    assert len(set(s.CASES.values())) == len(s.CASES), "each is another run"
    assert any(word.endswith("bad-day.toml") for word in s.CASES["bad-day"])
