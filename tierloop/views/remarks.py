"""What the figures of a run alone do not say, in sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

EXPERIENCE = {
    "produced": "recorded",
    "acked": "acknowledged",
    "stored": "stored in the cloud",
    "shed": "dropped for lack of space",
    "waiting": "waiting at the edge",
    "waiting_device": "waiting on devices",
    "lost": "lost with a crashed process",
    "refused": "refused by the cloud",
    "missing": "missing",
    "duplicate": "duplicate",
    "altered": "altered",
}
"""What may have become of a segment: the keys of the summary, in words."""


def remarks(summary: Mapping[str, Any]) -> list[str]:
    """The sentences that the end of a run owes its reader; none where all is well."""
    return [
        *_silence(summary), *_batteries(summary), *_late(summary), *_extrapolated(summary),
        *_early(summary),
    ]  # fmt: skip


def alone(silence: Mapping[str, Any], when: str = "not connected at the end") -> str:
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
            yield f"the battery of {robot} cut out: the robot stood still from then on"


def _late(summary: Mapping[str, Any]) -> Iterator[str]:
    """Whether most answers had expired when they came, or had to."""
    late, trip = summary["decisions"]["refused"]["expired"], summary["round_trip_ms"]
    acted = summary["action_age_ms"]["n"]
    valid_ms = summary.get("validity_ms", 0.0)
    if trip["n"] and (late > acted or trip["p50"] > valid_ms > 0):
        yield (
            f"{late} answers came too late to be used and {acted} were used: the median round trip "
            f"is {trip['p50']:.0f} ms, but an answer is valid only until {valid_ms:.0f} ms after "
            "its observation was captured; run the policy closer to the robot"
        )


def _extrapolated(summary: Mapping[str, Any]) -> Iterator[str]:
    for one in summary.get("extrapolated", ()):
        yield (
            f"compute of {one['process']}: outside what its hardware's profile was fitted on: "
            f"{one['what']}"
        )


def _early(summary: Mapping[str, Any]) -> Iterator[str]:
    if summary.get("ended") == "killed":
        lived_s, planned_s = summary["duration_s"], summary["planned_s"]
        killed = f"the run was killed after {lived_s:g} s of {planned_s:g} s"
        yield f"{killed}; its last second may be missing"
