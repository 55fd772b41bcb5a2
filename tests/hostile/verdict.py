"""What was found against what is allowed: one table, one exit code."""

from typing import NamedTuple

from victims import Vital


class Line(NamedTuple):
    """One thing judged; `bound` says in words what is right."""

    what: str
    found: str
    bound: str
    held: bool


class Verdict:
    """Collects lines; the exit code is 1 if one of them does not hold."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def none(self, what: str, found: int) -> None:
        """Of this there may be nothing."""
        self.lines.append(Line(what, f"{found}", "0", found == 0))

    def at_least(self, what: str, found: float, least: float) -> None:
        self.lines.append(Line(what, f"{found:g}", f">= {least:g}", found >= least))

    def at_most(self, what: str, found: float, most: float) -> None:
        self.lines.append(Line(what, f"{found:g}", f"<= {most:g}", found <= most))

    def note(self, what: str, found: str) -> None:
        """Told, not judged."""
        self.lines.append(Line(what, found, "", True))

    def text(self) -> str:
        rows = [
            ("what", "found", "right", ""),
            *((*x[:3], "" if x.held else "BROKEN") for x in self.lines),
        ]
        wide = [max(len(row[i]) for row in rows) for i in range(3)]
        return "\n".join(
            "  ".join(
                (*(cell.ljust(w) for cell, w in zip(row, wide, strict=False)), row[3])
            ).rstrip()
            for row in rows
        )

    @property
    def code(self) -> int:
        return int(not all(line.held for line in self.lines))


def lives(vitals: list[Vital]) -> dict[str, dict[int, list[Vital]]]:
    """Samples by name, then by pid: one pid is one life."""
    found: dict[str, dict[int, list[Vital]]] = {}
    for vital in vitals:
        found.setdefault(vital.name, {}).setdefault(vital.pid, []).append(vital)
    return found


def slope(samples: list[tuple[float, float]]) -> float:
    """By how much a value grows a second: Theil's median over pairs half a series apart."""
    half = len(samples) // 2
    pairs = zip(samples[: len(samples) - half], samples[half:], strict=False)
    rates = sorted((b - a) / (t - s) for (s, a), (t, b) in pairs if t > s)
    return rates[len(rates) // 2] if rates else 0.0
