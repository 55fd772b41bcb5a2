"""What the figures of a run alone do not say, in sentences."""

from collections.abc import Iterator, Mapping
from typing import Any


def remarks(summary: Mapping[str, Any]) -> list[str]:
    """The sentences that the end of a run owes its reader; none where all is well."""
    return [*_silence(summary), *_batteries(summary), *_late(summary), *_early(summary)]


def alone(silence: Mapping[str, Any], when: str = "not in session at the end") -> str:
    """A process that is not in session, and what it last said of it."""
    said = f": {silence['said']}" if silence["said"] else ""
    return f"{silence['process']} was {when}{said}"


def verdict(summary: Mapping[str, Any]) -> str:
    """Which invariants were broken, or that all held that could be judged."""
    found, unsure = summary["invariants"], len(summary.get("not_judged", ()))
    broken = "  ".join(f"{name} {n}" for name, n in found.items() if n)
    if not unsure:
        return broken or f"all {len(found)} held"
    return f"{broken or f'{len(found)} held'}, {unsure} not judged"


def _silence(summary: Mapping[str, Any]) -> Iterator[str]:
    return (alone(one) for one in summary.get("silence", ()) if one["lasting"])


def _batteries(summary: Mapping[str, Any]) -> Iterator[str]:
    for robot, battery in summary["energy_j"]["battery"].items():
        if battery["cut_out"]:
            yield f"{robot} stood still from when its battery cut out; figures end there"


def _late(summary: Mapping[str, Any]) -> Iterator[str]:
    """Whether most answers had expired when they came, or had to."""
    late, trip = summary["decisions"]["refused"]["expired"], summary["round_trip_ms"]
    acted = summary["action_age_ms"]["n"]
    valid_ms = summary.get("validity_ms", 0.0)
    if trip["n"] and (late > acted or trip["p50"] > valid_ms > 0):
        yield (
            f"{late} answers came too late to act and {acted} acted: the round trip is "
            f"{trip['p50']:.0f} ms at the median, and an answer is valid for {valid_ms:.0f} ms "
            "from its capture; move the policy nearer to the robot"
        )


def _early(summary: Mapping[str, Any]) -> Iterator[str]:
    if summary.get("ended") == "killed":
        lived_s, planned_s = summary["duration_s"], summary["planned_s"]
        yield f"killed after {lived_s:g} s of {planned_s:g} s: its last second may be missing"
