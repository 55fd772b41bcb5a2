"""Scratch folders go with their process, whatever way it ends; those in use are left alone."""

import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from tierloop.cloud import scratch
from tierloop.cloud.scratch import MEMORY_ROOM, Scratch, free_bytes, in_memory, takes_sockets
from tierloop.contract.errors import UserError

ROOT = Path(__file__).parents[2]
OTHER = """
import sys
from pathlib import Path
from tierloop.cloud.scratch import Scratch
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


@pytest.mark.parametrize("memory", ["missing", "a file", "full"])
def test_where_memory_has_no_room_a_disk_is_taken(tmp_path, monkeypatch, memory):
    place = tmp_path / "shm"
    if memory == "a file":
        place.write_text("")
    if memory == "full":
        place.mkdir()
        bytes_free = shutil.disk_usage(tmp_path)._replace(free=MEMORY_ROOM - 1)
        real = shutil.disk_usage
        monkeypatch.setattr(
            shutil, "disk_usage", lambda at: bytes_free if at.parent == place else real(at)
        )
    monkeypatch.setattr(scratch, "_MEMORY", place)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with closing(in_memory()) as found:
        assert found.path.parent == tmp_path
    assert memory != "full" or list(place.iterdir()) == []


def test_without_any_place_one_line_says_what_was_tried(monkeypatch):
    monkeypatch.setattr(scratch, "free_bytes", lambda _: 0)
    with pytest.raises(UserError, match=r"no fit folder in .*; name one in TMPDIR"):
        in_memory()


def test_a_folder_that_takes_no_file_has_no_room(tmp_path):
    assert free_bytes(tmp_path) > 0
    assert free_bytes(tmp_path / "gone") == 0


def test_a_folder_takes_sockets_if_their_whole_path_fits(tmp_path):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    left = scratch.SOCKET_BYTES - len(str(folder))
    assert takes_sockets(folder, "x" * left)
    assert not takes_sockets(folder, "x" * (left + 1))
    assert list(folder.iterdir()) == []
    folder.rmdir()
    assert not takes_sockets(folder, "x")
