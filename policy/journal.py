"""The journal of a shelf: which policies became active, and which were undone.

It is one file, replaced as a whole. What could be gone back to and what was undone follow from it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

JOURNAL_FILE = "journal.json"

KEEP = 4
"""Policies kept on disk: the active one and what it could go back to."""

ENTRIES_MAX = 1024
"""Entries kept; the oldest that say nothing of today's stack make room."""

Action = Literal["activate", "rollback", "damaged"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the journal: `version` became active, instead of `instead_of` (-1: none).

    "damaged": the file of `instead_of` no longer verified; it may be fetched and activated again.
    """

    action: Action
    version: int
    digest: str
    instead_of: int


def read(path: Path) -> list[Entry]:
    """The entries, oldest first; none where there is no such file.

    Raises OSError, msgspec.MsgspecError and others for a file that is damaged.
    """
    if not path.exists():
        return []
    return msgspec.json.decode(path.read_bytes(), type=list[Entry])


def packed(entries: Sequence[Entry]) -> bytes:
    """The content of the file."""
    return msgspec.json.format(msgspec.json.encode(entries))


def stack(entries: Sequence[Entry]) -> list[Entry]:
    """The active policy (last) and what it could go back to, lowest version first."""
    found: list[Entry] = []
    for entry in entries:
        found = [*(e for e in found if e.version < entry.version), entry][-KEEP:]
    return found


def undone(entries: Sequence[Entry]) -> set[int]:
    """Versions that a step back passed over."""
    had: set[int] = set()
    found: set[int] = set()
    for entry in entries:
        if entry.action == "rollback":
            found |= {version for version in had if version > entry.version}
            had -= found
        had.add(entry.version)
    return found


def shortened(entries: Sequence[Entry]) -> list[Entry]:
    """The newest ENTRIES_MAX entries, and those before them that the stack still rests on."""
    kept = stack(entries)
    old = [e for e in entries[:-ENTRIES_MAX] if any(e is k for k in kept)]
    return [*old, *entries[-ENTRIES_MAX:]]
