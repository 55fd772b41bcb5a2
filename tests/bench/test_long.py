"""The long benchmarks' own parts: what is lived through, and what no work comes to."""

from tierloop.bench.verdicts import lines
from tierloop.benchmarks import cell, late_answers


def test_the_episodes_of_a_point_are_split_among_cells_of_their_own():
    found = late_answers.points(("naive", "anchored"), (0.0, 100.0), 60)
    for way in ("naive", "anchored"):
        for delay_ms in (0.0, 100.0):
            mine = [p for p in found if (p.way, p.delay_ms) == (way, delay_ms)]
            assert [p.episodes for p in mine] == [25, 25, 10]
            assert len({p.seed for p in mine}) == 3
            assert all(p.acting is late_answers.WAYS[way] for p in mine)


def test_the_share_that_failed_and_none_without_an_episode():
    assert cell.failed({"success": {"episodes": 8, "successes": 6}}) == 0.25
    assert cell.failed({"success": {"episodes": 0, "successes": 0}}) is None


def test_a_cell_without_a_success_is_no_work_and_fails():
    (line,) = lines([cell.single(cell.ENERGY, None, 180.0)], ())
    assert line.verdict == "fail"
    assert "no work was done" in line.why
