"""Whether a process that lives still works: it reports, or it is at work, or it waits its turn."""

import os
from contextlib import suppress
from pathlib import Path

from tierloop.contract.clock import NS_PER_S
from tierloop.contract.messages import Report
from tierloop.contract.streams import silence_ns

SILENCE_S = silence_ns(Report) / NS_PER_S
"""A process that has reported once is silent for too long after this."""
START_S = 60.0
"""What a process may take to its first report: imports, policies and bodies are loaded there."""
LOOK_MAX_S = 1.0
"""Time between two looks counts as this much at most: who looked away longer heard nothing."""


class Pulse:
    """One life's signs of life, by the roof's looks at it.

    A process is hung that says nothing for too long while none of its threads wants a processor;
    or that says nothing and has used one for as long. One that waits for its turn on a busy host
    does neither.
    """

    def __init__(self, pid: int, now_s: float, patience: float = 1.0) -> None:
        """`patience`: how many times as long it may be silent, as where its clock runs slow."""
        self.pid, self.heard = pid, False
        self._looked_s, self._patience = now_s, patience
        self._silent_s = self._used_s = 0.0

    def beat(self) -> None:
        """A report has come."""
        self.heard = True
        self._silent_s, self._used_s = 0.0, used_s(self.pid)

    def hung(self, now_s: float) -> str:
        """Why it counts as hung, or nothing."""
        self._silent_s += min(now_s - self._looked_s, LOOK_MAX_S)
        self._looked_s = now_s
        most_s = (SILENCE_S if self.heard else START_S) * self._patience
        if self._silent_s <= most_s:
            return ""
        if wants_processor(self.pid) and used_s(self.pid) - self._used_s <= most_s:
            return ""
        return f"no report for {self._silent_s:.0f} s"


def wants_processor(pid: int) -> bool:
    """Whether a thread of the process runs, waits to run, or waits for a disk."""
    with suppress(OSError):
        return any(_stat(task)[0] in "RD" for task in Path(f"/proc/{pid}/task").iterdir())
    return False


def used_s(pid: int) -> float:
    """Processor time that the process has used."""
    with suppress(OSError):
        fields = _stat(Path(f"/proc/{pid}"))
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _stat(place: Path) -> list[str]:
    """The fields of proc(5)'s stat from the third on: behind the name, which may hold anything."""
    return (place / "stat").read_text(errors="replace").rpartition(")")[2].split()
