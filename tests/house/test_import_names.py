"""Rooms are imported below `tierloop.`; the bare names are for whoever installs it."""

import subprocess
import sys

import pytest
from wheels import ROOT

ROOMS = sorted(
    link.name
    for link in (ROOT / "tierloop").iterdir()
    if link.is_symlink() and (link / "__init__.py").is_file()
)


def test_every_folder_of_code_at_the_top_is_a_room_below_tierloop():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tierloop"}
    assert set(ROOMS) == folders


@pytest.mark.parametrize("room", ROOMS)
def test_a_bare_name_is_refused_with_the_right_one(room):
    done = subprocess.run(
        [sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    said = f"ImportError: this room is imported as tierloop.{room}, not as {room}"
    assert done.stderr.splitlines()[-1] == said


@pytest.mark.parametrize("room", ROOMS)
def test_an_installed_tierloop_leaves_the_bare_name_to_the_user(room, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", f"import tierloop.{room}\nimport {room}"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: No module named '{room}'"
