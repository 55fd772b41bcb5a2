"""Whether other work disturbed a measurement, by figures that are made up."""

import time

import pytest

from tierloop.calibrate import disturbance
from tierloop.calibrate.disturbance import HostWatch, Turn, judge

QUIET = [Turn(0.001, 0.000995)] * 50


def test_a_quiet_machine_is_not_refused():
    assert judge([QUIET] * 6, others=0.03) == ""


def test_a_first_block_that_is_slow_is_a_machine_that_warms_up():
    assert judge([[Turn(0.0016, 0.0016)] * 50, QUIET, QUIET], others=0.03) == ""


def test_a_slow_moment_of_one_turn_is_not_a_disturbance():
    assert judge([[*QUIET, Turn(0.003, 0.001)]] * 6, others=0.03) == ""


@pytest.mark.parametrize(
    ("blocks", "others", "words"),
    [
        ([QUIET] * 6, 0.5, "other work took 50% of its processors"),
        ([[Turn(0.002, 0.001)] * 50] * 6, 0.0, "waited for a processor for 50% of its time"),
        ([QUIET, QUIET, [Turn(0.0016, 0.0016)] * 50], 0.0, "took 1.6 times as long at one time"),
    ],
    ids=["others", "waited", "pace"],
)
def test_each_way_of_being_disturbed_is_told(blocks, others, words):
    assert words in judge(blocks, others)


def test_the_share_of_others_leaves_out_what_is_ones_own(monkeypatch):
    """Of 20 s of two processors 13 were used, 9 of them by this process."""
    told = iter([disturbance._Usage(100.0, 50.0, 5.0), disturbance._Usage(120.0, 63.0, 14.0)])
    monkeypatch.setattr(disturbance, "_usage", lambda: next(told))
    assert disturbance._others(disturbance._usage(), disturbance._usage()) == pytest.approx(0.2)


def test_the_watch_turns_a_loop_that_takes_time():
    watch = HostWatch()
    watch.begin_block()
    begun_s = time.perf_counter()
    watch.look(3)
    lasted_s = time.perf_counter() - begun_s
    (block,) = watch._blocks
    assert len(block) == 3
    assert 0 < sum(turn.cpu_s for turn in block) <= lasted_s
    assert sum(turn.wall_s for turn in block) <= lasted_s
