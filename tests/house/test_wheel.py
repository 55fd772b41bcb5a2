"""A wheel made from the sdist has what the checkout has, and runs in another folder."""

import os
import shutil
import subprocess
import sys
import venv
from zipfile import ZipFile

import pytest
from wheels import ROOT, build, by_sdist

from tierloop.contract.version import __version__

ROOMS = [link for link in (ROOT / "tierloop").iterdir() if link.is_symlink()]
RUN = ("run", "sorting-cell.toml", "--clock", "virtual", "--for", "0.3", "--out", "record")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return by_sdist(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def elsewhere(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(ROOT / "deployments" / "sorting-cell.toml", folder)
    return folder


def test_the_wheel_has_every_file_of_the_package_and_the_rooms(wheel, tmp_path):
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    below = {link.name for link in ROOMS}
    rooms = {f"tierloop/{name}" for name in listed if name.split("/")[0] in below}
    own = {name for name in listed if name.startswith("tierloop/")}
    expected = rooms | own - {f"tierloop/{name}" for name in below}
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == expected
    (tmp_path / "direct").mkdir()
    direct = ZipFile(build("wheel", ROOT, tmp_path / "direct")).namelist()
    assert sorted(direct) == sorted(ZipFile(wheel).namelist())


def test_the_unpacked_wheel_runs_the_sorting_cell_in_another_folder(wheel, tmp_path, elsewhere):
    ZipFile(wheel).extractall(tmp_path / "unpacked")
    begin = (
        "import sys, tierloop.contract, tierloop.__main__ as command\n"
        f"assert tierloop.contract.__file__.startswith({str(tmp_path)!r})\n"
        "sys.exit(command.main())"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", begin, *RUN], cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "unpacked")},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert (elsewhere / "record" / "summary.json").is_file(), done
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_fresh_environment_with_the_wheel_alone_runs_the_sorting_cell(wheel, tmp_path, elsewhere):
    """Installs the wheel and its extras `cloud` and `report`: minutes, and a network."""
    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=True)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def done(program, *words):
        return subprocess.run(
            [fresh / "bin" / program, *words], cwd=elsewhere, env=clean,
            capture_output=True, text=True, timeout=1500,
        )  # fmt: skip

    limits = str(ROOT / "constraints.txt")
    installed = done("python", "-m", "pip", "install", "-q", "-c", limits, f"{wheel}[cloud,report]")
    assert installed.returncode == 0, installed.stderr
    version = done("python", "-c", "import tierloop; print(tierloop.__version__)")
    assert version.stdout == f"{__version__}\n"
    ran = done("tierloop", *RUN)
    assert (elsewhere / "record" / "summary.json").is_file(), ran
    assert "Traceback" not in ran.stderr
