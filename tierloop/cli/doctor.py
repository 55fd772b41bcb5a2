"""The doctor: what this machine has and lacks for each role."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tierloop.cli.extras import NEEDS, remedy
from tierloop.cloud.config import CloudConfig
from tierloop.cloud.ray.place import SHARED
from tierloop.cloud.scratch import first, free_bytes
from tierloop.contract.errors import UserError
from tierloop.contract.version import __version__
from tierloop.link.sockets import check_free
from tierloop.stack.config.deployment import load
from tierloop.stack.config.deployment_file import LinksConfig
from tierloop.stack.machine import memory_bytes, processors
from tierloop.stack.record.summary import library

ADVISED_CPUS = 2
STORE = CloudConfig().object_store_mb * 2**20
WIDE = 200
"""Columns where nobody looks: a remedy is copied from one line."""


class Finding(NamedTuple):
    """One line: `good` False means that a run would fail, None that it would run less well."""

    name: str
    good: bool | None
    text: str


def examine(file: Path | None) -> bool:
    """Prints what was found; True if nothing needed is missing. Raises UserError on a bad file."""
    links = load(file).links if file else LinksConfig()
    findings = [*_machine(), *_libraries(), *_ports(links)]
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    marks = {True: Text("ok", "green"), False: Text("FAIL", "red"), None: Text("note", "yellow")}
    for finding in findings:
        table.add_row(marks[finding.good], finding.name, finding.text)
    console = Console()
    (console if console.is_terminal else Console(width=WIDE)).print(table)
    return all(finding.good is not False for finding in findings)


def _machine() -> Iterator[Finding]:
    yield Finding("tierloop", True, f"{__version__}, Python {platform.python_version()}")
    yield Finding("platform", True, platform.platform())
    cpus, whole = processors(), os.cpu_count() or 1
    enough = True if cpus >= ADVISED_CPUS else None
    limited = f" of {whole} (limited by affinity or a control group)" if cpus < whole else ""
    yield Finding("processors", enough, f"{cpus}{limited}; {ADVISED_CPUS} or more recommended")
    memory, whole = memory_bytes(), psutil.virtual_memory().total
    limited = f" of {whole / 2**30:.1f} (limited by a control group)" if memory < whole else ""
    yield Finding("memory", True, f"{memory / 2**30:.1f}{limited} GiB")
    yield _realtime()
    yield from _folders()


def _folders() -> Iterator[Finding]:
    free = free_bytes(SHARED)
    where = (
        ""
        if free >= STORE
        else "; Ray's object store and virtual runs use the disk instead, which is slower"
    )
    yield Finding("shared memory", not where or None, f"{SHARED}, {free >> 20} MiB free{where}")
    try:
        with closing(first(lambda folder: free_bytes(folder) > 0)) as scratch:
            place = scratch.path.parent
            yield Finding("temporary folder", True, f"{place}, {free_bytes(place) >> 20} MiB free")
    except OSError as error:
        yield Finding("temporary folder", False, str(error))


def _realtime() -> Finding:
    if not hasattr(os, "sched_setscheduler"):
        return Finding("real time", None, "no SCHED_FIFO here: expect missed ticks under load")
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError as error:
        return Finding(
            "real time", None, f"SCHED_FIFO refused ({error.strerror}): expect missed ticks"
        )
    os.sched_setscheduler(0, *before)
    return Finding("real time", True, "SCHED_FIFO permitted")


def _libraries() -> Iterator[Finding]:
    for extra, names in NEEDS.items():
        versions = {name: library(name) for name in names}
        missing = [name for name, version in versions.items() if version is None]
        if missing:
            yield Finding(extra, False, f"{', '.join(missing)} missing; {remedy(extra)}")
        else:
            yield Finding(extra, True, ", ".join(f"{n} {v}" for n, v in versions.items()))
    if library("pybullet"):
        yield _pybullet_numpy()


def _pybullet_numpy() -> Finding:
    question = "import pybullet; print(pybullet.isNumpyEnabled())"
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True)
    if answer.returncode:
        return Finding("pybullet", False, "cannot be imported")
    if answer.stdout.split()[-1:] == ["1"]:
        return Finding("pybullet", True, "built with numpy")
    return Finding(
        "pybullet", True, "built without numpy, which is enough: camera images are not used"
    )


def _ports(links: LinksConfig) -> Iterator[Finding]:
    try:
        placed = links.placed(Path.cwd())
    except UserError as error:
        yield Finding("sockets", False, str(error))
        return
    for key in ("device_edge", "edge_cloud"):
        address = getattr(placed, key)
        try:
            check_free(address)
        except UserError as error:
            yield Finding("address", False, f"links.{key}: {error}")
        else:
            yield Finding("address", True, f"{address} is free")
