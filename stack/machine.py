"""What of this machine may be used: processors and memory, less than what it has by limits of ours.

An affinity and the quotas of control groups, of either version, hold for all that we start.
"""

import os
from collections.abc import Iterator
from math import inf
from pathlib import Path

import psutil

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
"""The groups this process is in, a line a hierarchy: cgroups(7)."""


def processors() -> int:
    """How many processes may run at once: by affinity, and by quota rounded down; 1 at least."""
    return max(1, int(min(len(os.sched_getaffinity(0)), quota())))


def quota() -> float:
    """Processors that this process's control groups may use in all; infinite without a limit."""
    found = [inf]
    for folder in _folders("cpu"):
        text = _words(folder / "cpu.max")
        if not text:
            text = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(text) == 2 and text[0].isdecimal() and int(text[1]) > 0:
            found.append(int(text[0]) / int(text[1]))
    return min(found)


def memory_bytes() -> int:
    """What the machine has, or its control groups allow."""
    found = [int(psutil.virtual_memory().total)]
    for folder in _folders("memory"):
        text = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        found += [int(text[0])] if text and text[0].isdecimal() else []
    return min(found)


def _folders(controller: str) -> Iterator[Path]:
    """The groups that limit this process, its own and all above it, of both versions.

    In a container the path of its own group may lead nowhere: then what is mounted is the group.
    """
    try:
        lines = OWN.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller in names.split(","):
            mounts = [GROUPS / names, GROUPS / controller]
        elif number == "0" and not names:
            mounts = [GROUPS, GROUPS / "unified"]
        else:
            continue
        own = Path(path.lstrip("/"))
        yield from (mount / above for mount in mounts for above in (own, *own.parents))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []
