"""Budgets on a run of the wall clock: what chance had a hand in is never exact."""

import numpy as np
import pytest
from records import recorded

from tierloop.bench import run_budgets
from tierloop.bench.statistics import Verdict
from tierloop.contract.budget import Budget
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.ledger import INDEX, LEDGER
from tierloop.contract.messages import Report


def made_reports(robots: int, seconds: int, delay_ms) -> list[Report]:
    """Twenty decisions a second and robot; `delay_ms(second)` is what all waited in it."""
    made = []
    for robot in range(robots):
        for second in range(seconds):
            rows = np.zeros((20, len(LEDGER)), np.int64)
            at_ns = second * NS_PER_S + np.arange(20) * 50 * NS_PER_MS + 1
            rows[:, INDEX["captured_ns"]] = rows[:, INDEX["sent_ns"]] = at_ns
            for name in ("received_ns", "applied_ns"):
                rows[:, INDEX[name]] = at_ns + round(delay_ms(second) * NS_PER_MS)
            made.append(
                Report(
                    process=f"arm-{robot}", role="device", boot=1, at_ns=(second + 1) * NS_PER_S,
                    counters={}, gauges={}, labels={}, decisions=rows,
                    lateness_ns=np.full(240, second, np.int64), outcomes=(), events=(),
                )
            )  # fmt: skip
    return made


def judged(made: list[Report], budget: Budget, **figures):
    summary = {
        "clock": "wall", "ticks": {"n": 240, "missed": 0},
        "success": {"episodes": 0, "successes": 0},
        "energy_j": {"robots": {}, "acting": 100.0, "per_success": None},
        "decisions": {"fallback": {"edge": 0.0}},
    } | figures  # fmt: skip
    (line,) = run_budgets.judged(recorded(made), summary, [budget])
    return line


def test_blocks_are_stretches_of_time_across_all_robots():
    """A disturbance that all share is not four times as well known with four robots."""
    slow = {3, 4, 5, 6, 11, 12, 13, 14}
    made = made_reports(4, 16, lambda second: 30.0 if second in slow else 10.0)
    line = judged(made, Budget(metric="round_trip", limit=25.0, unit="ms"))
    assert line.verdict is Verdict.INCONCLUSIVE
    assert (line.figure.low, line.figure.high) == pytest.approx((10.0, 30.0), rel=2e-3)


def test_one_sample_is_no_certainty():
    made = made_reports(1, 1, lambda _: 5.0)
    made[0] = made[0].__class__(**{f: getattr(made[0], f) for f in made[0].__struct_fields__}
                                | {"decisions": made[0].decisions[:1]})  # fmt: skip
    line = judged(made, Budget(metric="round_trip", limit=10.0, unit="ms", percentile=99))
    assert line.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("n", "missed", "verdict"),
    [
        (240, 0, Verdict.INCONCLUSIVE),
        (240, 1, Verdict.INCONCLUSIVE),
        (100_000, 20, Verdict.PASS),
        (100_000, 300, Verdict.FAIL),
    ],
)
def test_missed_ticks_are_a_share_with_an_interval(n, missed, verdict):
    budget = Budget(metric="missed_ticks", limit=0.001, unit="share")
    line = judged(made_reports(1, 1, lambda _: 5.0), budget, ticks={"n": n, "missed": missed})
    assert line.verdict is verdict


@pytest.mark.parametrize(
    ("episodes", "successes", "verdict"),
    [
        (0, 0, Verdict.INCONCLUSIVE),
        (3, 0, Verdict.INCONCLUSIVE),
        (3, 2, Verdict.INCONCLUSIVE),
        (200, 196, Verdict.PASS),
        (100, 0, Verdict.FAIL),
    ],
)
def test_joules_a_success_are_as_sure_as_the_successes(episodes, successes, verdict):
    budget = Budget(metric="energy_per_success", limit=20.0, unit="J")
    line = judged(
        made_reports(1, 1, lambda _: 5.0), budget,
        success={"episodes": episodes, "successes": successes},
        energy_j={"robots": {}, "acting": 15.0 * episodes, "per_success": None},
    )  # fmt: skip
    assert line.verdict is verdict
