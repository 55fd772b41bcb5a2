"""Where the finished runs of a sweep are kept, each under the name of its settings."""

from pathlib import Path
from typing import Any

import msgspec

from tierloop.contract.errors import UserError
from tierloop.contract.reading import Unreadable, reading
from tierloop.sweep.grid import GridCell

CELLS, LOGS = "cells", "logs"
SUFFIX = ".json"
Summary = dict[str, Any]

NEEDED = ("success", "action_age_ms", "energy_j", "invariants")


class SweepFolder:
    """The folder of a sweep. Raises UserError if it holds something else."""

    def __init__(self, out: Path) -> None:
        if out.exists() and not out.is_dir():
            raise UserError(f"{out}: not a folder; choose another --out")
        if out.exists() and any(out.iterdir()) and not (out / CELLS).is_dir():
            raise UserError(f"{out}: not empty and not a sweep; choose another --out")
        self.out = out

    def open(self) -> None:
        """Makes the folders."""
        try:
            for folder in (CELLS, LOGS):
                (self.out / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.out}: {error.strerror}; choose another --out") from None

    def path(self, cell: GridCell) -> Path:
        return self.out / CELLS / f"{cell.name}{SUFFIX}"

    def log(self, cell: GridCell) -> Path:
        return self.out / LOGS / f"{cell.name}.log"

    def read(self, cell: GridCell) -> Summary | None:
        """The summary of a finished run; None if there is none that can be read whole."""
        path = self.path(cell)
        try:
            with reading(path):
                summary = msgspec.json.decode(path.read_bytes(), type=Summary)
        except Unreadable:
            return None
        return summary if all(isinstance(summary.get(key), dict) for key in NEEDED) else None

    def strangers(self, cells: tuple[GridCell, ...]) -> int:
        """How many runs lie here that are none of these."""
        mine = {self.path(cell).name for cell in cells}
        return sum(path.name not in mine for path in (self.out / CELLS).glob(f"*{SUFFIX}"))
