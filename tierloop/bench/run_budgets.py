"""The `[[budget]]` tables of a deployment, judged on the record of its run."""

import sys
from collections.abc import Mapping, Sequence
from math import inf, nan
from pathlib import Path
from typing import Any

from tierloop.bench import budget, outputs, verdicts
from tierloop.bench.protocol import Series
from tierloop.bench.statistics import CONFIDENCE, Blocks, Estimate, Verdict, exact, share
from tierloop.bench.verdicts import Line, Result
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


def verdict(
    record: Record, summary: Mapping[str, Any], budgets: Sequence[Budget], out: Path
) -> int:
    """Prints a line for what did not pass, writes JUnit and Markdown into `out`; the exit code."""
    found = judged(record, summary, budgets)
    for line in found:
        if line.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
            print(f"tierloop: {remark(line)}", file=sys.stderr)
    if words := passed_over(budgets, summary["clock"]):
        print(f"\n  {words}.")
    result = Result(
        name=summary["deployment"], question="Does the run keep its budgets?", bare="",
        seconds=summary["duration_s"], error="", lines=found,
    )  # fmt: skip
    try:
        outputs.put_run(verdicts.document([result], ()), out)
    except OSError as error:
        print(f"tierloop: not written: verdicts of the budgets: {error}", file=sys.stderr)
    return verdicts.exit_code([line.verdict for line in found])


def passed_over(budgets: Sequence[Budget], clock: MetricClock) -> str:
    """How many budgets a run on this clock does not judge, in words; or nothing."""
    said = []
    for whose, others in others_of(budgets, clock).items():
        are, were = ("s are", "were") if len(others) > 1 else (" is", "was")
        said.append(f"{len(others)} budget{are} for {whose} and {were} not judged")
    return "; ".join(said)


def others_of(budgets: Sequence[Budget], clock: MetricClock) -> dict[str, list[Budget]]:
    """The budgets that a run on this clock does not judge, by what they are for."""
    found: dict[str, list[Budget]] = {}
    for one in budgets:
        if not any(one.covers(metric) for metric in metrics(clock)):
            of_a_run = any(one.covers(metric) for metric in metrics(one.clock))
            whose = f"the {one.clock} clock" if of_a_run else "`tierloop bench`"
            found.setdefault(whose, []).append(one)
    return found


def judged(
    record: Record, summary: Mapping[str, Any], budgets: Sequence[Budget]
) -> tuple[Line, ...]:
    """A line for every budget; those of the other clock, and of `bench`, are not judged."""
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
        *(Series(m, _blocks(record, *samples[m.name]), exact=virtual, fresh=True) for m in sampled),
        Series(missed, (), known=_missed(summary["ticks"], virtual)),
        Series(energy, (), known=_per_success(summary, virtual)),
        Series(failed, (), known=_failed(summary, virtual)),
        Series(fallback, (), known=_fallback(summary["decisions"]["fallback"])),
        Series(robot_j, (), known=_most(summary["energy_j"]["robots"])),
    ]
    found = verdicts.lines([s for s in series if any(b.covers(s.metric) for b in own)], own)
    for whose, others in others_of(budgets, clock).items():
        found += verdicts.unjudged(others, f"for {whose}")
    return found


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


def _failed(summary: Mapping[str, Any], virtual: bool) -> Estimate | None:
    """The share of the episodes that failed, with a share's interval where chance had a hand.

    On the wall a run too short for an episode leaves it open.
    """
    episodes = summary["success"]["episodes"]
    if not episodes:
        return None if virtual or not summary["ticks"]["n"] else Estimate(nan, 0.0, 1.0, 1)
    failed = episodes - summary["success"]["successes"]
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
