"""Hung or at work: judged by reports, by what the threads want, and by the roof's own looks."""

import pytest

from tierloop.stack.faults.kinds import ClockDrift
from tierloop.stack.faults.timeline import slowest_rate
from tierloop.stack.wall import pulse
from tierloop.stack.wall.pulse import LOOK_MAX_S, SILENCE_S, START_S, Pulse


@pytest.fixture
def host(monkeypatch):
    """What the host says of the process."""
    said = {"wants": False, "used": 0.0}
    monkeypatch.setattr(pulse, "wants_processor", lambda _: said["wants"])
    monkeypatch.setattr(pulse, "used_s", lambda _: said["used"])
    return said


def hung_after(one, start_s=0.0, step_s=0.05, most_s=200.0):
    """Seconds of looks until it counts as hung, or None."""
    for n in range(1, round(most_s / step_s)):
        if one.hung(start_s + n * step_s):
            return n * step_s
    return None


def test_one_that_does_nothing_is_hung_after_the_silence_of_its_stream(host):
    one = Pulse(1, 0.0)
    one.beat()
    assert pytest.approx(5.05, abs=0.06) == hung_after(one) == pytest.approx(SILENCE_S, abs=0.1)


def test_before_its_first_report_it_has_a_minute(host):
    assert hung_after(Pulse(1, 0.0)) == pytest.approx(START_S, abs=0.1)


def test_one_stopped_for_three_seconds_is_not(host):
    one = Pulse(1, 0.0)
    one.beat()
    assert hung_after(one, most_s=4.0) is None, "the last report, three seconds, and the next"


def test_one_that_waits_for_a_processor_is_not(host):
    one = Pulse(1, 0.0)
    one.beat()
    host["wants"], host["used"] = True, 4.9
    assert hung_after(one) is None


def test_one_that_runs_in_a_circle_is(host):
    one = Pulse(1, 0.0)
    one.beat()
    host["wants"], host["used"] = True, 5.1
    assert hung_after(one) == pytest.approx(SILENCE_S, abs=0.1)


def test_a_roof_that_looked_away_has_heard_nothing(host):
    one = Pulse(1, 0.0)
    one.beat()
    assert one.hung(600.0) == "", "stopped for ten minutes, it counts one look"
    assert hung_after(one, 600.0) == pytest.approx(SILENCE_S - LOOK_MAX_S, abs=0.1)


def test_a_clock_that_runs_slow_is_allowed_for(host):
    drift = ClockDrift(at_s=1, for_s=60, target="edge", ppm=-500_000)
    patience = 1 / slowest_rate((drift,))
    one = Pulse(1, 0.0, patience)
    one.beat()
    assert hung_after(one) == pytest.approx(2 * SILENCE_S, abs=0.1)
    assert slowest_rate((drift, drift)) == pytest.approx(0.1)
    assert slowest_rate(()) == 1


def test_of_a_process_that_is_gone_nothing_is_known():
    assert not pulse.wants_processor(2**22 - 1)
    assert pulse.used_s(2**22 - 1) == 0
