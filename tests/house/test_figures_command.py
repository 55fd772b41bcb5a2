"""`make figures` finds what no longer holds, judges on the right machine, and writes it anew."""

import sys

import figures
import pytest

from tierloop.exit_codes import ExitCode

DOCUMENT = """It takes 1.4
ms: 35,000 a second, 7 of 9, 12 MB.

**Ways**

| way | ms |
| --- | --- |
| up | 3 |
"""
LIST = """
machine = "MACHINE"

[command.bench]
run = "TYPED"
clock = "CLOCK"
seconds = 0.1

[[figure]]
file = "README.md"
text = "takes {1.4} ms: {35,000} a second, {7} of {9},"
command = "bench"
reads = ['p50 +(\\S+) us / 1000', '1e6 / cpu +(\\S+) us', ".share.of[0]", ".share.of[1]"]
tolerance = 0.1

[[figure]]
file = "README.md"
text = "{12} MB"
command = "bench"
reads = ['cpu .* (\\S+) MB']
tolerance = "at most"

[[figure]]
file = "README.md"
text = "**Ways** | way ..."
command = "bench"

[[given]]
file = "README.md"
text = "It"
why = "a word"
"""
PRINTED = """p50  1,445 us
cpu  29.4 us  11.9 MB
**Ways**

| way | ms |
| --- | --- |
| up | 3 |

{
  "share": {"of": [7, 9]}
}
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The command over a small checkout; its exit code, and what it says."""

    def command(printed, *options, typed="cat printed", clock="exact", machine="another"):
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / "README.md").write_text(DOCUMENT)
        listed = LIST.replace("TYPED", typed).replace("CLOCK", clock).replace("MACHINE", machine)
        (tmp_path / "docs" / "figures.toml").write_text(listed)
        (tmp_path / "printed").write_text(printed)
        monkeypatch.setattr(figures, "ROOT", tmp_path)
        monkeypatch.setattr(sys, "argv", ["figures.py", *options])
        return figures.main(), capsys.readouterr().out

    return command


def test_figures_hold_that_are_printed_within_their_tolerance(run):
    code, said = run(PRINTED)
    assert code == ExitCode.FINE
    assert "0 of 10 figures do not hold" in said


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("1,445", "1,645"),
        ("29.4", "35.4"),
        ("[7, 9]", "[5, 9]"),
        ("[7, 9]", "[7]"),
        ("11.9 MB", "12.6 MB"),
        ("| up | 3 |", "| up | 4 |"),
        ("| up | 3 |", "| up | 3 |\n| down | 5 |"),
        ("p50", "p90"),
        ("p50", "p50  1,445 us\np50"),
    ],
)
def test_a_figure_that_is_printed_otherwise_does_not_hold(run, right, wrong):
    code, said = run(PRINTED.replace(right, wrong))
    assert code == ExitCode.BROKEN
    assert "\n1 of " in said


def test_a_command_that_fails_fails_it_all(run):
    code, said = run(PRINTED, typed="cat printed; echo why >&2; exit 5")
    assert code == ExitCode.FAILED
    assert "exit 5: why" in said


@pytest.mark.parametrize(
    ("clock", "machine", "code"),
    [
        ("exact", "another", ExitCode.BROKEN),
        ("wall", figures.here(), ExitCode.BROKEN),
        ("wall", "another", ExitCode.FINE),
        ("virtual", "another", ExitCode.FINE),
    ],
)
def test_only_what_is_exact_is_judged_on_another_machine(run, clock, machine, code):
    found, said = run(PRINTED.replace("1,445", "9,000"), clock=clock, machine=machine)
    assert found == code
    assert ("not judged" in said) == (code == ExitCode.FINE)


def test_what_is_printed_is_written_down(run, tmp_path):
    printed = PRINTED.replace("1,445", "2,930").replace("29.4", "20.03").replace("| 3 |", "| 4 |")
    assert run(printed, "--write")[0] == ExitCode.BROKEN
    said = (tmp_path / "README.md").read_text()
    assert said == DOCUMENT.replace("1.4", "2.9").replace("35,000", "50,000").replace(
        "| 3 |", "| 4 |"
    )
    assert "takes {2.9} ms: {50,000} a second" in (tmp_path / "docs" / "figures.toml").read_text()


def test_what_is_not_printed_is_left_as_it_stands(run, tmp_path):
    assert run("nothing", "--write")[0] == ExitCode.BROKEN
    assert (tmp_path / "README.md").read_text() == DOCUMENT
