"""The `[[budget]]` tables of a deployment, judged on the record of its run."""

import sys
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from tierloop.bench import budget
from tierloop.bench.protocol import Series
from tierloop.bench.statistics import CONFIDENCE, Blocks, Estimate, Verdict, exact, share
from tierloop.bench.verdicts import Line, exit_code, lines
from tierloop.bench.words import remark
from tierloop.contract.budget import TIMES_BARE, Budget, Metric, MetricClock
from tierloop.contract.clock import NS_PER_MS, NS_PER_US
from tierloop.contract.errors import UserError
from tierloop.contract.ledger import Rung
from tierloop.stack.config.budget_tables import Placed
from tierloop.stack.record.record import AGE, FIRST_USE, LATENESS, OLDEST, ROUND_TRIP, Record
from tierloop.stack.record.summary import missed_share


def metrics(clock: MetricClock) -> tuple[Metric, ...]:
    """What a run on this clock is judged by."""
    units = {
        "age_of_action": "ms", "first_use_age": "ms", "oldest_age": "ms",
        "round_trip": "ms", "tick_lateness": "us",
        "missed_ticks": "share", "energy_per_success": "J",
        "failed_episodes": "share", "fallback": "share", "robot_j": "J",
    }  # fmt: skip
    return tuple(Metric(name, unit, clock=clock) for name, unit in units.items())


def known() -> tuple[Metric, ...]:
    """What the budgets of a deployment may be about: its runs, and `bench --deployment`."""
    from tierloop.bench.own.measure import METRICS

    return (*metrics("wall"), *metrics("virtual"), *METRICS)


def check(budgets: Sequence[Budget]) -> None:
    """Raises UserError, before a run, for a budget about nothing."""
    for number, one in enumerate(budgets, 1):
        budget.check([Placed(one, f"budget {number} ({one.metric})")], known())
        if one.unit == TIMES_BARE:
            raise UserError(
                f"budget {number} ({one.metric}): a run has no baseline; "
                "give the limit in the metric's own unit"
            )


def verdict(record: Record, summary: Mapping[str, Any], budgets: Sequence[Budget]) -> int:
    """Prints a line for what did not pass; the exit code."""
    found = judged(record, summary, budgets)
    for line in found:
        if line.verdict is not Verdict.PASS:
            print(f"tierloop: {remark(line)}", file=sys.stderr)
    if words := passed_over(budgets, summary["clock"]):
        print(f"\n  {words}.")
    return exit_code([line.verdict for line in found])


def passed_over(budgets: Sequence[Budget], clock: MetricClock) -> str:
    """How many budgets a run on this clock does not judge, in words; or nothing."""
    others = [budget.clock for budget in budgets if budget.clock != clock]
    if not others:
        return ""
    are, were = ("s are", "were") if len(others) > 1 else (" is", "was")
    names = " and ".join(sorted(set(others)))
    return f"{len(others)} budget{are} for the {names} clock and {were} not judged"


def judged(
    record: Record, summary: Mapping[str, Any], budgets: Sequence[Budget]
) -> tuple[Line, ...]:
    """A line for every budget on the clock of the run."""
    virtual = summary["clock"] == "virtual"
    samples = {
        "age_of_action": (AGE, NS_PER_MS), "first_use_age": (FIRST_USE, NS_PER_MS),
        "oldest_age": (OLDEST, NS_PER_MS), "round_trip": (ROUND_TRIP, NS_PER_MS),
        "tick_lateness": (LATENESS, NS_PER_US),
    }  # fmt: skip
    clock: MetricClock = "virtual" if virtual else "wall"
    own = [budget for budget in budgets if budget.clock == clock]
    *sampled, missed, energy, failed, fallback, robot_j = metrics(clock)
    series = [
        *(Series(m, _blocks(record, *samples[m.name]), exact=virtual) for m in sampled),
        Series(missed, (), known=_missed(summary["ticks"], virtual)),
        Series(energy, (), known=_per_success(summary, virtual)),
        Series(failed, (), known=_failed(summary["success"], virtual)),
        Series(fallback, (), known=_fallback(summary["decisions"]["fallback"])),
        Series(robot_j, (), known=_most(summary["energy_j"]["robots"])),
    ]
    return lines([s for s in series if any(b.covers(s.metric) for b in own)], own)


def _missed(ticks: Mapping[str, int], virtual: bool) -> Estimate | None:
    """The share of ticks due that were missed, with a share's interval where chance had a hand."""
    value, due = missed_share(ticks), ticks["n"] + ticks["missed"]
    if value is None:
        return None
    if virtual:
        return exact(value, due)
    return Estimate(value, *share(ticks["missed"], due, CONFIDENCE), due)


def _per_success(summary: Mapping[str, Any], virtual: bool) -> Estimate | None:
    """Joules a success. On the wall as sure as the share of successes is; open without one."""
    lived, joules = summary["success"], summary["energy_j"]
    episodes, successes = lived["episodes"], lived["successes"]
    if virtual:
        return exact(joules["per_success"]) if successes else None
    if not episodes:
        return Estimate(inf, 0.0, inf, 1) if summary["ticks"]["n"] else None
    whole_j = joules["acting"]
    low, high = share(successes, episodes, CONFIDENCE)
    return Estimate(
        whole_j / successes if successes else inf,
        whole_j / (episodes * high),
        whole_j / (episodes * low) if low else inf,
        episodes,
    )


def _failed(success: Mapping[str, int], virtual: bool) -> Estimate | None:
    """The share of the episodes that failed, with a share's interval where chance had a hand."""
    episodes = success["episodes"]
    if not episodes:
        return None
    failed = episodes - success["successes"]
    if virtual:
        return exact(failed / episodes, episodes)
    return Estimate(failed / episodes, *share(failed, episodes, CONFIDENCE), episodes)


def _fallback(rung_s: Mapping[str, float]) -> Estimate | None:
    """The share of the robots' time in which no tier's answer drove them; counted, not sampled."""
    whole_s = sum(rung_s.values())
    return exact(1.0 - rung_s[Rung.EDGE.name.lower()] / whole_s) if whole_s else None


def _most(robots: Mapping[str, float]) -> Estimate | None:
    """The joules of the robot that spent most: a model's figure, whose constants are as given."""
    return exact(max(robots.values())) if robots else None


def _blocks(record: Record, name: str, ns: int) -> Blocks:
    """Stretches of time are what is independent: what disturbs a host hits all its robots."""
    return tuple(block / ns for block in record.samples[name].blocks())
