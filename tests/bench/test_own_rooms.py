"""A stranger's repository may have rooms of the very names of this one."""

from zipfile import ZipFile

from stranger import python
from wheels import ROOT, build

ROOMS = [link.name for link in (ROOT / "tierloop").iterdir() if (link / "__init__.py").is_file()]

USES_BOTH = f"""
from importlib import import_module
from pathlib import Path

import tierloop.device
import tierloop.policy

HERE = Path(__file__).parent


def test_own_and_installed(budget):
    for room in {ROOMS}:
        assert import_module(room).OWNER == "stranger"
        installed = Path(import_module("tierloop." + room).__file__)
        assert installed.is_relative_to(HERE / "site" / "tierloop" / room)
    mine = budget("my.onnx", body="my_package:MyBody", seconds=0.3)
    mine.within("inference", limit=1e6, unit="us")
"""


def test_its_own_rooms_stay_its_own_beside_an_installed_tierloop(outside):
    ZipFile(build("wheel", ROOT, outside)).extractall("site")
    for room in ROOMS:
        (outside / room).mkdir()
        (outside / room / "__init__.py").write_text('OWNER = "stranger"\n')
    (outside / "test_mine.py").write_text(USES_BOTH)
    done = python("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
