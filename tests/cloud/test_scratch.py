"""Scratch folders go with their process, whatever way it ends; those in use are left alone."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from cloud.scratch import Scratch

ROOT = Path(__file__).parents[2]
OTHER = """
import sys
from pathlib import Path
from cloud.scratch import Scratch
scratch = Scratch(Path(sys.argv[1]))
(scratch.path / "file").write_text("x")
print(scratch.path, flush=True)
sys.stdin.read()
"""


def test_it_is_private_empty_and_gone_at_the_end(tmp_path):
    with closing(Scratch(tmp_path)) as one, closing(Scratch(tmp_path)) as two:
        assert one.path.parent == tmp_path
        assert one.path != two.path
        assert one.path.stat().st_mode & 0o77 == 0
        (one.path / "deep" / "er").mkdir(parents=True)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_by_the_next_and_nothing_else(tmp_path):
    (tmp_path / "tierloop-mine").mkdir()
    (tmp_path / "tierloop-run-file").write_text("no folder")
    others = [
        subprocess.Popen(
            [sys.executable, "-c", OTHER, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for _ in range(2)
    ]  # fmt: skip
    killed, alive = others
    left, used = (Path(other.stdout.readline().strip()) for other in others)
    killed.kill()
    killed.communicate()
    assert (left / "file").exists()
    with closing(Scratch(tmp_path)):
        assert not left.exists()
        assert (used / "file").read_text() == "x"
    alive.kill()
    alive.communicate()
    Scratch(tmp_path).close()
    assert {p.name for p in tmp_path.iterdir()} == {"tierloop-mine", "tierloop-run-file"}
