"""An audit of its own over the stores of a run that is over, beside tierloop.stack.record.audit."""

import contextlib
import hashlib
import sqlite3
from pathlib import Path
from typing import NamedTuple

from tierloop.stack.record import reports

LOSSES = ("exactly_once", "nothing_acked_lost", "nothing_altered")
"""Invariants of a run that hold whoever was killed, and when."""


class Books(NamedTuple):
    """Segments over all lives of all devices, and what may not be."""

    stored: int = 0
    waiting: int = 0
    lives: int = 0
    gaps: int = 0
    altered: int = 0
    twice: int = 0
    acked_nowhere: int = 0
    torn: int = 0

    def __add__(self, other: object) -> "Books":
        assert isinstance(other, Books)
        return Books(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def wrong(self) -> dict[str, int]:
        """What there may be none of: numbers missing below the highest one on disk, bytes that
        are not those sealed, numbers stored twice, segments that a device's last report counts as
        acknowledged and no disk holds, databases that SQLite finds damaged."""
        return {
            "gaps in a life": self.gaps,
            "altered": self.altered,
            "stored twice": self.twice,
            "acknowledged and nowhere": self.acked_nowhere,
            "torn databases": self.torn,
        }


def inspect(out: Path) -> Books:
    """The books of one record."""
    cloud, edge = out / "state/cloud/store.sqlite", out / "state/edge/outbox.sqlite"
    stored = _rows(
        cloud, "SELECT device, boot, seq, digest, body FROM segments WHERE source='lived'"
    )
    refused = _rows(cloud, "SELECT device, boot, seq FROM refused")
    waiting = _rows(edge, "SELECT device, boot, seq FROM parcels")
    keys = [row[:3] for row in stored]
    lives: dict[tuple[str, int], set[int]] = {}
    for device, boot, seq in {*keys, *refused, *waiting}:
        lives.setdefault((device, boot), set()).add(seq)
    acked = {
        (report.process, report.boot): int(report.counters.get("segments.acked", 0))
        for report in reports.read(out / "parts")
        if report.role == "device"
    }
    return Books(
        stored=len(keys),
        waiting=len({*waiting} - {*keys}),
        lives=len(acked),
        gaps=sum(max(seqs) + 1 - len(seqs) for seqs in lives.values()),
        altered=sum(_digest(body) != digest for *_, digest, body in stored),
        twice=len(keys) - len(set(keys)),
        acked_nowhere=sum(max(0, n - len(lives.get(life, ()))) for life, n in acked.items()),
        torn=sum(
            _rows(path, "PRAGMA integrity_check") not in ([], [("ok",)]) for path in (cloud, edge)
        ),
    )


def _digest(body: bytes) -> int:
    return int.from_bytes(hashlib.sha256(body).digest()[:8], "big") >> 1


def _rows(path: Path, query: str) -> list[tuple]:
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(path, timeout=2.0)) as database:
        try:
            return database.execute(query).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise
