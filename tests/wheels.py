"""A wheel by the way that a release takes: an sdist of the checkout, and the wheel made from it."""

import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def build(kind: str, source: Path, folder: Path) -> Path:
    """The "sdist" or "wheel" of this source, in the folder, without a network."""
    code = f"import sys; from hatchling import build; print(build.build_{kind}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(folder)],
        cwd=source, check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return folder / done.stdout.split()[-1]


def by_sdist(folder: Path) -> Path:
    """The wheel that is made from the sdist of this checkout."""
    with tarfile.open(build("sdist", ROOT, folder)) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    return build("wheel", source, folder)
