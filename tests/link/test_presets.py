"""The presets do what their sources say, each way apart and at any rate, and so does the page."""

from pathlib import Path

import numpy as np
import pytest

from tierloop.benchmarks import links
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.link.model import LinkModel
from tierloop.link.presets import PRESETS
from tierloop.link.spec import LinkSpec

pytestmark = pytest.mark.untraced  # many samples of few lines, which others trace

DOCS = Path(__file__).parents[2] / "docs" / "links.md"
SPARSE_HZ = 1.0
TOLERANCE = 0.05
"""Of each quantile; a p99 of 60,000 messages scatters by 1 to 2 %."""


@pytest.fixture(scope="module")
def sparse():
    return {
        name: links.legs_ms(name, SPARSE_HZ, 60_000, 1)
        for name, preset in PRESETS.items()
        if preset.measured
    }


@pytest.mark.parametrize(
    ("name", "point"),
    [(name, point) for name, preset in PRESETS.items() for point in preset.measured],
)
def test_each_quantile_of_the_source_comes_out(sparse, name, point):
    found = np.quantile(sparse[name][point.leg], point.share)
    assert found == pytest.approx(point.ms, rel=TOLERANCE)


def test_what_sources_say_besides(sparse):
    """97 % of wifi's round trips are below 100 ms, 98 % below 200 (the same paper's figure)."""
    p97, p98 = np.quantile(sparse["wifi"]["round trip"], (0.97, 0.98))
    assert p97 < 105
    assert p98 < 200


@pytest.mark.parametrize("name", ["wifi", "5g", "lte"])
def test_who_sends_more_often_is_not_later(sparse, name):
    often = links.legs_ms(name, 200.0, 60_000, 2)
    for leg in ("up", "down"):
        for share in (0.5, 0.9):
            at_rest = np.quantile(sparse[name][leg], share)
            assert np.quantile(often[leg], share) == pytest.approx(at_rest, rel=0.1)
        p99 = np.quantile(sparse[name][leg], 0.99)
        assert np.quantile(often[leg], 0.99) == pytest.approx(p99, rel=0.4), "300 s, some stalls"


@pytest.mark.parametrize(("name", "up", "down"), [("lte", 6, 13), ("satellite", 18, 117)])
def test_each_direction_carries_its_own_rate(name, up, down):
    size, apart_ns = 10_000, NS_PER_MS // 4
    for direction, mbps in zip(LinkSpec(preset=name, loss=0).directions(), (up, down), strict=True):
        link = LinkModel(direction, np.random.default_rng(1))
        arrivals = [link.carry(i * apart_ns, size) for i in range(40_000)]
        carried = sum(len(a) for a in arrivals)
        assert carried * size * 8 / (40_000 * apart_ns / NS_PER_S) == pytest.approx(
            mbps * 1e6, rel=0.15
        )


def test_a_line_says_what_the_source_gives_or_that_it_gives_nothing():
    found = links.lines("5g", samples=((1.0, 200), (20.0, 200)))
    assert [(line.leg, line.share, line.source_ms) for line in found] == [
        ("up", 0.5, None), ("up", 0.9, None), ("up", 0.99, None),
        ("down", 0.025, 4), ("down", 0.975, 10),
        ("round trip", 0.5, None), ("round trip", 0.9, None), ("round trip", 0.99, None),
    ]  # fmt: skip
    assert all(len(line.simulated_ms) == 2 for line in found)


def test_the_table_of_presets_is_current():
    rows = [line.split("|")[1:-1] for line in DOCS.read_text().splitlines() if "|" in line]
    cells = {
        (row[0].strip(), row[1].strip()): [c.strip() for c in row[2:]] for row in reversed(rows)
    }
    for name, preset in PRESETS.items():
        for way, d in (("up", preset.up), ("down", preset.down)):
            points = (d.jitter_p50_ms, d.jitter_p90_ms, d.jitter_p99_ms, d.jitter_max_ms)
            assert cells[f"`{name}`", way] == [
                f"{d.delay_ms:g}",
                ", ".join(f"{ms:g}" for ms in points) if any(points) else "none",
                f"{d.slot_s:g}, {d.slot_ms:g}, {d.slot_stall_ms:g}" if d.slot_s else "none",
                f"{d.loss:g}, {d.burst_ms:g}",
                f"{d.bandwidth_mbps:g}" if d.bandwidth_mbps else "no limit",
                f"{d.queue_ms:g}",
            ]
        assert f"- `{name}`: {preset.source}." in DOCS.read_text()
