"""report.html: one self-contained page about one run."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from tierloop.contract.clock import NS_PER_MS, NS_PER_S, NS_PER_US
from tierloop.sim.scenario import body_spec, policy_spec
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.record.invariants import FAULTS
from tierloop.stack.record.record import Record
from tierloop.stack.record.summary import missed_share, told_faults
from tierloop.views.remarks import EXPERIENCE, remarks

EVENTS_MAX = 400
"""Events listed in the page at most; the charts show all."""


def render(summary: Mapping[str, Any], record: Record, deployment: Deployment) -> str:
    """The page's HTML: figures from `summary`, charts from the raw samples of `record`."""
    import jinja2

    from tierloop.views.charts import page_style

    template = files("tierloop.views").joinpath("report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    start_ns, _ = record.span_ns()
    happenings = sorted(record.happenings)
    events = [
        {
            "at_s": (h.at_ns - start_ns) / NS_PER_S,
            "process": h.process,
            "name": h.name,
            "detail": h.detail,
            "fault": h.name in FAULTS,
        }
        for h in happenings[:EVENTS_MAX]
    ]
    return environment.from_string(template).render(
        style=page_style(),
        s=summary,
        charts=_charts(summary, record, deployment),
        events=events,
        faults=told_faults(summary),
        experience=EXPERIENCE,
        remarks=remarks(summary),
        missed_share=missed_share(summary["ticks"]),
        events_more=len(happenings) - len(events),
        task=deployment.scenario.task,
    )


def _charts(
    summary: Mapping[str, Any], record: Record, deployment: Deployment
) -> list[tuple[str, str]]:
    from tierloop.views import charts as c

    start_ns, _ = record.span_ns()
    versions = summary["policy_versions"]
    period_us = body_spec(deployment.scenario).control_period_ns / NS_PER_US
    validity_ms = policy_spec(deployment.scenario).validity_ns / NS_PER_MS
    spent = summary["energy_j"]
    low_j, high_j = spent["interval"]
    joules = {f"device: {part}": j for part, j in spent["device"].items()}
    joules |= {tier: spent[tier] for tier in ("edge", "cloud")}
    seconds = summary["duration_s"]
    return [
        ("Success by policy version", c.draw(c.success_by_version(versions))),
        (
            "Success over time, all robots",
            c.draw(c.running_success(record, versions, start_ns)),
        ),
        ("Age of action", c.draw(c.age_histogram(record, validity_ms))),
        ("Tick lateness", c.draw(c.lateness(record, period_us))),
        (
            f"Energy by part ({spent['source']}: {low_j:,.0f} to {high_j:,.0f} J in total)",
            c.draw(c.energy(joules), left_in=1.35),
        ),
        ("Events", c.draw(c.timeline(record.happenings, FAULTS, start_ns, seconds), left_in=0.8)),
    ]
