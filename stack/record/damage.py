"""Damage: which parts of a record could not be read, and which invariants are then not judged."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tierloop.contract.clock import NS_PER_S

OF_STORES = {
    "state/cloud/": ("exactly_once", "nothing_acked_lost", "nothing_altered", "books_balanced"),
    "state/edge/outbox": ("nothing_acked_lost", "books_balanced"),
    "state/edge/policies": ("version_regress",),
}
"""Invariants that rest on what lies under each of these; on the reports rest all others, too."""

_AUDITED = frozenset(("exactly_once", "nothing_altered"))
"""Rest on the stores alone."""
_WHOLE = frozenset(("conservation", "in_session", "books_balanced", "workers_up"))
"""Compare what several processes said last: a lost report alone can make it differ."""


class Damage(NamedTuple):
    """A stretch of a file that cannot be read.

    `file` is named from the record's folder; `at_byte` and `size_bytes` are -1 where the whole file
    is meant. What is lost was reported after `after_ns` and before `before_ns`, by the host's
    monotonic clock; None where no whole report stands on that side.
    """

    file: str
    why: str
    at_byte: int = -1
    size_bytes: int = -1
    after_ns: int | None = None
    before_ns: int | None = None

    def told(self, start_ns: int, end_ns: int) -> dict[str, Any]:
        """As the summary lists it; seconds from the start of the run."""
        after_ns = start_ns if self.after_ns is None else self.after_ns
        before_ns = end_ns if self.before_ns is None else self.before_ns
        reported = self.file.startswith("parts")
        return {
            "file": self.file,
            "why": self.why,
            "at_byte": self.at_byte,
            "bytes": self.size_bytes,
            "from_s": round((after_ns - start_ns) / NS_PER_S, 3) if reported else None,
            "to_s": round((before_ns - start_ns) / NS_PER_S, 3) if reported else None,
        }


def line(told: Mapping[str, Any]) -> str:
    """One damage of a summary in one line."""
    where = f" at byte {told['at_byte']} ({told['bytes']} bytes)" if told["at_byte"] >= 0 else ""
    lost = (
        f"; lost: from {told['from_s']} s to {told['to_s']} s" if told["to_s"] is not None else ""
    )
    return f"damaged: {told['file']}{where}: {told['why']}{lost}"


def provable(
    found: Mapping[str, int], damaged: Iterable[Damage]
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Of the violations found, those that can be told; and the names that cannot be judged.

    What the whole reports prove stays. What they do not show may stand in those that are lost.
    """
    files = [damage.file for damage in damaged]
    unsure = {n for start, names in OF_STORES.items() for n in names if _under(files, start)}
    if _under(files, "parts"):
        unsure |= {n for n, count in found.items() if n not in _AUDITED and not count} | _WHOLE
    kept = {name: count for name, count in found.items() if name not in unsure}
    return kept, tuple(name for name in found if name in unsure)


def _under(files: Iterable[str], start: str) -> bool:
    return any(file.startswith(start) for file in files)
