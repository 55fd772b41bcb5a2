"""The long benchmarks' own parts: what is lived through, and what no work comes to."""

import math

import pytest

from tierloop.bench.verdicts import lines
from tierloop.benchmarks import cell, late_answers
from tierloop.benchmarks.rig import late


def test_the_episodes_of_a_case_are_split_among_policies_and_cells_of_their_own():
    case = late_answers.CONDITIONS[0].case("naive", 100.0)
    found = [*late.cells(case, 3, 91)]
    assert [(cell.policy, cell.episodes) for cell in found] == [
        (0, 25), (0, 6), (1, 25), (1, 5), (2, 25), (2, 5)
    ]  # fmt: skip
    assert len({cell.seed for cell in found}) == len(found)
    assert [cell.seed for cell in found] == [
        cell.seed for cell in late.cells(late_answers.CONDITIONS[1].case("naive", 37.0), 3, 91)
    ], "all cases meet the same parts"


def test_jitter_leaves_the_median_delay_as_it_is():
    found = late_answers.points([0.0, 18.0, 213.0])
    assert {p.delay_ms for p in found if p.condition.jitter} == {18.0, 213.0}
    for point in found:
        up, down = point.case.link.directions()
        law = up.jitter()
        median_ms = up.delay_ms + (law.wait_ms(-math.log(0.5)) if law else 0.0)
        assert up == down
        assert median_ms == pytest.approx(point.delay_ms)


def test_the_share_that_failed_and_none_without_an_episode():
    assert cell.failed({"success": {"episodes": 8, "successes": 6}}) == 0.25
    assert cell.failed({"success": {"episodes": 0, "successes": 0}}) is None


def test_a_cell_without_a_success_is_no_work_and_fails():
    (line,) = lines([cell.single(cell.ENERGY, None, 180.0)], ())
    assert line.verdict == "fail"
    assert "no work was done" in line.why
