"""Links that somebody has measured, as far as they are published."""

from typing import Literal, NamedTuple

from tierloop.link.direction import DirectionSpec

Preset = Literal["none", "ethernet", "wifi", "5g", "lte", "satellite"]
Leg = Literal["up", "down", "round trip"]


class SourcePoint(NamedTuple):
    """A point of a published distribution: this share of the messages took `ms` at most."""

    leg: Leg
    share: float
    ms: float


class PresetLink(NamedTuple):
    """Both directions with every value, where they come from, and what the source gives."""

    up: DirectionSpec
    down: DirectionSpec
    source: str
    measured: tuple[SourcePoint, ...] = ()


NOTHING = DirectionSpec(
    delay_ms=0, jitter_p50_ms=0, jitter_p90_ms=0, jitter_p99_ms=0, jitter_max_ms=0, slot_s=0,
    slot_ms=0, slot_stall_ms=0, loss=0, burst_ms=0, bandwidth_mbps=0, queue_ms=200, duplicate=0,
    reorder=0, reorder_ms=0, outage_every_s=0, outage_s=0,
)  # fmt: skip


def _direction(
    delay_ms: float, jitter_ms: tuple[float, float, float, float], **values: float
) -> DirectionSpec:
    """`jitter_ms` are its p50, p90, p99 and longest."""
    p50_ms, p90_ms, p99_ms, max_ms = jitter_ms
    return DirectionSpec(
        delay_ms=delay_ms, jitter_p50_ms=p50_ms, jitter_p90_ms=p90_ms, jitter_p99_ms=p99_ms,
        jitter_max_ms=max_ms, **values,
    ).over(NOTHING)  # fmt: skip


_ETHERNET = _direction(0.1, (0.02, 0.04, 0.065, 1), bandwidth_mbps=1000)
_WIFI = _direction(0.5, (0.8, 5.8, 145, 500), loss=0.005, burst_ms=30, bandwidth_mbps=50)
_5G = {"loss": 0.0005, "burst_ms": 50}
_LTE = {"loss": 0.002, "burst_ms": 100, "queue_ms": 1000}
_SATELLITE = {
    "slot_s": 15, "slot_ms": 28, "slot_stall_ms": 75, "loss": 0.005, "burst_ms": 100,
    "queue_ms": 500,
}  # fmt: skip

PRESETS: dict[str, PresetLink] = {
    "none": PresetLink(NOTHING, NOTHING, "no link at all"),
    "ethernet": PresetLink(
        _ETHERNET,
        _ETHERNET,
        "assumed: 0.1 ms one way through two switches at 1 Gbit/s, no loss",
    ),
    "wifi": PresetLink(
        _WIFI,
        _WIFI,
        "measured: round trip over the hop of a campus p50 3, p90 20, p99 250 ms (Sui et al., "
        "MobiSys 2016, doi 10.1145/2906388.2906393); assumed: both ways alike, the longest, loss, "
        "bursts, 50 Mbit/s",
        (
            SourcePoint("round trip", 0.5, 3),
            SourcePoint("round trip", 0.9, 20),
            SourcePoint("round trip", 0.99, 250),
        ),
    ),
    "5g": PresetLink(
        _direction(5, (5, 9.5, 15.2, 50), bandwidth_mbps=50, **_5G),
        _direction(3, (3, 5.25, 8, 50), bandwidth_mbps=200, **_5G),
        "measured: campus network, 95 % of one-way delays down 4 to 10 ms (Rischke et al., IEEE "
        "Access 2021, doi 10.1109/ACCESS.2021.3108423); assumed: all of the way up, which waits "
        "for a grant, the longest, loss, bursts, 50 and 200 Mbit/s",
        (SourcePoint("down", 0.025, 4), SourcePoint("down", 0.975, 10)),
    ),
    "lte": PresetLink(
        _direction(18, (18.5, 48.5, 161, 400), bandwidth_mbps=6, **_LTE),
        _direction(10, (18.5, 48.5, 161, 400), bandwidth_mbps=13, **_LTE),
        "measured: 6 Mbit/s up, 13 down (Huang et al., MobiSys 2012), "
        "round trips of 50 to 200 ms in public networks (Blakley, Living Edge Lab, May 2022; here "
        "95 % of them), 70 ms (WebPageTest's profile LTE; here the median); assumed: 8 ms more "
        "up, jitter both ways alike, the longest, loss, bursts, buffer",
        (
            SourcePoint("round trip", 0.025, 50),
            SourcePoint("round trip", 0.5, 70),
            SourcePoint("round trip", 0.975, 200),
        ),
    ),
    "satellite": PresetLink(
        _direction(7.8, (2.5, 8, 18, 60), bandwidth_mbps=18, **_SATELLITE),
        _direction(7.8, (2.5, 8, 18, 60), bandwidth_mbps=117, **_SATELLITE),
        "measured: low orbit, round trip p25 40, p50 50, p75 60 ms, least 20 ms (Michel et al., "
        "IMC 2022), a new path every 15 s (Mohan et al., WWW 2024, arXiv 2310.09242) with 30 to "
        "50 ms more at the change (Huston, APNIC 2024), which lasts 75 ms before and 140 ms after "
        "it (arXiv 2601.08439), 18 Mbit/s up, 117 down (Ookla, Maine, late 2024); assumed: both "
        "ways alike, 75 ms of stall at the change, the longest, loss, bursts, buffer",
        (
            SourcePoint("round trip", 0.001, 20),
            SourcePoint("round trip", 0.25, 40),
            SourcePoint("round trip", 0.5, 50),
            SourcePoint("round trip", 0.75, 60),
        ),
    ),
}
