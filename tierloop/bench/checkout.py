"""A checkout whose code is run: a folder as it is, or a git ref in a worktree of its own."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tierloop.contract.errors import UserError

MARK = "pyproject.toml"
"""A folder that holds this file is a checkout."""


class Side(NamedTuple):
    """A checkout; `planted`: the share of codec calls that are done twice, None to leave it be."""

    name: str
    folder: Path
    planted: float | None = None

    @property
    def environment(self) -> dict[str, str]:
        """In which Python runs the code of this checkout."""
        return {**os.environ, "PYTHONPATH": str(self.folder.resolve()), "PYTHONHASHSEED": "0"}


@contextmanager
def checkout(name: str) -> Iterator[Side]:
    """The side of that name. Raises UserError if it is neither a checkout nor a git ref."""
    if (Path(name) / MARK).is_file():
        yield Side(name, Path(name).resolve())
        return
    if _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").returncode:
        said = f"not a checkout: it has no {MARK}" if Path(name).is_dir() else "no folder"
        raise UserError(f"{name}: {said}; nor is it a git ref of this repository")
    with tempfile.TemporaryDirectory(prefix="tierloop-checkout-") as folder:
        tree = Path(folder) / "tree"
        added = _git("worktree", "add", "--detach", str(tree), name)
        if added.returncode:
            raise UserError(f"{name}: {added.stderr.strip().splitlines()[-1]}")
        try:
            yield Side(name, tree)
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError("git is not installed: give two folders") from None
