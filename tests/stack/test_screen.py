"""Nothing that becomes of the screen ends a command or changes its exit code."""

import os
import pty
import subprocess
import sys
import time

import pytest
from records import fill, short_run

UNDRAWN = (
    "import sys; from tierloop.views import charts; charts.draw = lambda *_, **__: '';"
    "from tierloop.__main__ import main; sys.exit(main())"
)
TIERLOOP = (sys.executable, "-c", UNDRAWN)
"""The command without charts, which take longer than all it does here."""
SAYS = (
    "import sys; from tierloop.stack import screen; screen.install();"
    "[print('a dash — and … \\udcff', file=f) for f in (sys.stdout, sys.stderr)];"
    "open(sys.argv[1], 'w').write('the record'); sys.exit(4)"
)

GONE = """
import contextlib, os
with contextlib.suppress(OSError):
    os.read(0, 1)
"""
"""Waits until the terminal has gone away."""


@pytest.fixture
def record(tmp_path):
    fill(tmp_path, short_run())
    return tmp_path


def says(tmp_path, redirected: str, **more: str) -> int:
    """The exit code of a process whose standard streams are `redirected` by a shell."""
    kept = tmp_path / "kept"
    code = subprocess.call(
        ["bash", "-c", f'exec "$@" {redirected}', "bash", sys.executable, "-c", SAYS, str(kept)],
        env=os.environ | more,
    )
    assert kept.read_text() == "the record"
    return code


@pytest.mark.parametrize(
    "redirected", [">/dev/full 2>/dev/full", ">&- 2>&-", "0<&- 1>&- 2>&-", "> >(:) 2>&1"]
)
def test_words_that_nobody_takes_are_lost_and_that_is_all(tmp_path, redirected):
    assert says(tmp_path, redirected) == 4


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_encoding_is_too_small(tmp_path, encoding):
    out = tmp_path / "out"
    assert says(tmp_path, f">{out} 2>&1", PYTHONIOENCODING=encoding, LC_ALL="C") == 4
    assert b"a dash " in out.read_bytes()


def test_a_terminal_that_went_away_takes_nothing_with_it(tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", GONE + SAYS, str(tmp_path / "kept")],
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    os.close(ours)
    assert process.wait(30) == 4
    assert (tmp_path / "kept").read_text() == "the record"


@pytest.mark.parametrize("redirected", [">/dev/full", "| head -n 1", ">&-"])
def test_a_report_is_written_whoever_reads_what_is_said_of_it(record, redirected):
    words = f'set -o pipefail; "$@" {redirected}'
    done = subprocess.run(
        ["bash", "-c", words, "bash", *TIERLOOP, "report", str(record)], capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (record / "summary.json").exists()


def test_what_is_all_a_command_does_has_to_arrive(record):
    for command in (("schema",), ("replay", str(record))):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([*TIERLOOP, *command], stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 2
        assert done.stderr == b"tierloop: standard output: No space left on device\n"


FLOODS = (
    "import sys; from tierloop.stack import screen;"
    "screen.install(); screen.wait_at_most({wait_s});"
    "[print('x' * 999) for _ in range(999)];"
    "open(sys.argv[1], 'w').write(str(screen.failure())); print('end', file=sys.stderr)"
)


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("wait_s", [0, 0.2])
@pytest.mark.parametrize("opened", [os.pipe, pty.openpty])
def test_a_reader_that_reads_nothing_stops_nothing(tmp_path, opened, blocking, wait_s):
    ours, theirs = opened()
    os.set_blocking(theirs, blocking)
    done = subprocess.run(
        [sys.executable, "-c", FLOODS.format(wait_s=wait_s), str(tmp_path / "kept")],
        stdout=theirs, stderr=subprocess.PIPE, timeout=20,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"end\n")
    assert (tmp_path / "kept").read_text() == "[Errno 11] nobody reads"
    assert os.get_blocking(theirs) is blocking, "it is not ours alone"
    assert len(os.read(ours, 4000)) > 2000, "what had room arrived"
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_slow_reader_of_what_is_no_run_gets_it_all(tmp_path, blocking):
    ours, theirs = os.pipe()
    os.set_blocking(theirs, blocking)
    says = FLOODS.format(wait_s="float('inf')")
    process = subprocess.Popen([sys.executable, "-c", says, str(tmp_path / "kept")], stdout=theirs)
    os.close(theirs)
    with open(ours, "rb") as read:
        time.sleep(0.4)
        assert len(read.read()) == 999 * 1000
    assert process.wait(10) == 0
