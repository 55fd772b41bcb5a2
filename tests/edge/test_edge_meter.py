import pytest

from tierloop.edge.meter import BusyMeter

S = 1_000_000_000


def test_jobs_that_overlap_are_busy_time_once():
    meter = BusyMeter(idle_w=1.0, busy_w=3.0, dedicated=True)
    meter.start(0)
    for at_s, move in ((1, meter.begin), (2, meter.begin), (3, meter.end), (4, meter.end)):
        move(at_s * S)
    assert meter.energy_j(10 * S) == pytest.approx(10 * 1.0 + 3 * 2.0)
    meter.begin(10 * S)
    assert meter.energy_j(11 * S) == pytest.approx(11 * 1.0 + 4 * 2.0), "one still under way"
    meter.end(12 * S)
    assert meter.energy_j(20 * S) == pytest.approx(20 * 1.0 + 5 * 2.0)
