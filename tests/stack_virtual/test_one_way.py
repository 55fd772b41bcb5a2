"""One-way times across two clocks: estimated, with a bound that holds."""

import numpy as np
import pytest
from virtual_plants import MS, deployment, plants

from tierloop.contract.ledger import INDEX
from tierloop.link.direction import DirectionSpec
from tierloop.link.spec import LinkSpec
from tierloop.stack.faults.kinds import ClockDrift, ClockStep, Delay


def ways(p) -> np.ndarray:
    """Up, down and bound in ns, int64[R, 3], of the decisions that were answered."""
    rows = p.record.decisions()
    rows = rows[rows[:, INDEX["received_ns"]] > 0]
    return rows[:, [INDEX["up_ns"], INDEX["down_ns"], INDEX["way_bound_ns"]]]


@pytest.mark.parametrize(
    "fault",
    [
        (),
        (ClockStep(at_s=0.5, target="edge", step_ms=5000),),
        (ClockDrift(at_s=0.1, for_s=60, target="edge", ppm=200),),
    ],
    ids=["true", "stepped", "drifting"],
)
def test_the_truth_lies_within_the_bound_whatever_the_edges_clock_says(fault):
    with plants(deployment(robots=1, device=LinkSpec(delay_ms=20), fault=fault)) as p:
        p.run(6)
        p.stack.finish()
        found = ways(p)
    known = found[found[:, 2] >= 0][40:]
    assert len(known) > 40
    assert (np.abs(known[:, :2] - 20 * MS) <= known[:, 2:] + 5 * MS).all()
    assert (known[:, 2] < 25 * MS).all()


SLOW_UP = Delay(at_s=0.0, for_s=60, target="device", direction="up", delay_ms=30)


@pytest.mark.parametrize(
    ("link", "faults"),
    [
        (LinkSpec(delay_ms=10), (SLOW_UP,)),
        (LinkSpec(delay_ms=10, up=DirectionSpec(delay_ms=40)), ()),
    ],
    ids=["by a fault", "by nature"],
)
def test_an_uneven_link_is_told_within_the_bound_and_sums_up(link, faults):
    with plants(deployment(robots=1, device=link, fault=faults)) as p:
        p.run(6)
        p.stack.finish()
        found = ways(p)
    known = found[found[:, 2] >= 0]
    assert np.abs(known[:, :2].sum(1) - 50 * MS).max() < 5 * MS
    assert (np.abs(known[:, 0] - 40 * MS) <= known[:, 2] + 5 * MS).all()
    assert (np.abs(known[:, 1] - 10 * MS) <= known[:, 2] + 5 * MS).all()
