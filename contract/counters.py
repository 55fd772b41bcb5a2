"""The table of counters: one line for each that a node reports in `Report.counters`.

A counter only grows while a process lives. A name with a part in angle brackets is a family: one
counter for each value of the part, as `refused.expired` is of `refused.<reason>`. Only `member` and
`parsed` put such names together and take them apart. `python -m tierloop.contract.counters` prints
the table as docs/counters.md shows it.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from tierloop.contract.streams import STREAM_NAME

DEVICE, EDGE, CLOUD, ROOF = ("device",), ("edge",), ("cloud",), ("roof",)
SERVERS = (*EDGE, *CLOUD)
NODES = (*DEVICE, *SERVERS)


class Counted(NamedTuple):
    """A counter or a family of counters; `roles` are the roles of the processes that count it."""

    name: str
    unit: str
    roles: tuple[str, ...]
    meaning: str


CAUSE_J = "cause_j.<cause>"
ENERGY_J = "energy_j.<part>"
FAILED = "failed.<step>"
INVARIANT = "invariant.<name>"
LIMIT = "limit.<limit>"
MEASURED_J = "measured_j.<meter>"
OUTCOMES_REFUSED = "outcomes.refused.<reason>"
PHASE_S = "phase_s.<phase>"
REFUSED = "refused.<reason>"
RUNG_S = "rung_s.<rung>"
SAMPLES = "samples.<source>"
SHED = "shed.<priority>"
MESSAGES_SENT = "link.<stream>.sent"
MESSAGES_RECEIVED = "link.<stream>.received"
MESSAGES_DROPPED = "link.<stream>.dropped.<reason>"
FRAMES_REFUSED = "link.frames.dropped.<reason>"
OFFERED = "link.<way>.offered"
CARRIED = "link.<way>.carried"
DUPLICATED = "link.<way>.duplicated"
DELIVERED = "link.<way>.delivered"
UNDER_WAY = "link.<way>.under_way"
LOST = "link.<way>.dropped.<reason>"

WAYS = ("up", "down")
"""The directions of a modelled link: `<way>`."""
UNREACHABLE = "unreachable"
"""The reason of a frame that arrived and found nobody, so that it is carried and lost."""

# fmt: off
COUNTERS: tuple[Counted, ...] = (
    Counted("ticks", "ticks", DEVICE, "Control ticks done."),
    Counted("missed", "ticks", DEVICE, "Deadlines of ticks that were skipped."),
    Counted("ticks.due", "ticks", DEVICE, "Ticks due from the first to the last, by the watch."),
    Counted("ticks.unmeasured", "ticks", DEVICE, "Ticks whose readings were no numbers; their "
            "joints are charged nothing."),
    Counted("clock_leap_s", "s", DEVICE, "How far the clock leapt ahead, as of a host suspended."),
    Counted("decisions", "observations", DEVICE, "Observations made, a row of the ledger each."),
    Counted(RUNG_S, "s", DEVICE, "Time spent on a rung of the ladder."),
    Counted(REFUSED, "answers", DEVICE, "Answers that did not act, by reason (`Refusal`)."),
    Counted(LIMIT, "setpoints", DEVICE, "Setpoints that the guard changed for this limit."),
    Counted(INVARIANT, "violations", DEVICE, "Invariants violated, as the device judges itself."),
    Counted("segments.produced", "segments", DEVICE, "Segments sealed."),
    Counted("segments.acked", "segments", DEVICE, "Segments that the edge acknowledged."),
    Counted("segments.shed", "segments", DEVICE, "Segments dropped because the backlog was full."),
    Counted("segments.unsent_acks", "messages", DEVICE, "Acknowledgements of segments never sent; "
            "they are not believed."),
    Counted(CAUSE_J, "J", DEVICE, "Energy that is in proportion to one constant of the model."),
    Counted("battery.given_j", "J", DEVICE, "What the battery gave, by its state of charge."),
    Counted("battery.unserved_j", "J", DEVICE, "Energy asked for that the battery could not give."),
    Counted(ENERGY_J, "J", NODES, "Energy of one part, by the model; a server has `compute` only."),
    Counted("busy_s", "s", SERVERS, "Time with work under way, which draws the busy power."),
    Counted("observations", "observations", EDGE, "Observations that came in open sessions."),
    Counted("answered", "observations", EDGE, "Observations that were answered."),
    Counted("batches", "batches", EDGE, "Batches that the engine computed."),
    Counted("batches_of_no_use", "batches", EDGE, "Batches answered too late or with no numbers."),
    Counted("dropped.reordered", "observations", EDGE, "Observations that came after a later one."),
    Counted("dropped.misfit", "observations", EDGE, "Observations of wrong shape, stamp or value."),
    Counted("dropped.superseded", "observations", EDGE, "Observations that a newer one replaced."),
    Counted("dropped.expired", "observations", EDGE, "Observations that waited for too long."),
    Counted("dropped.lost", "observations", EDGE, "Observations whose session ended first."),
    Counted("dropped.no_policy", "observations", EDGE, "Observations while there was no policy."),
    Counted("dropped.engine", "observations", EDGE, "Observations whose engine failed."),
    Counted("dropped.answer_not_finite", "observations", EDGE, "Observations whose answer "
            "held a value that is no number."),
    Counted("segments_in", "segments", EDGE, "Segments that came from devices."),
    Counted("segment_bytes.raw", "bytes", EDGE, "Size of the new segments as devices sealed them."),
    Counted("segment_bytes.deflated", "bytes", EDGE, "Size of the same after compression."),
    Counted("stored", "segments", EDGE, "Segments written to the outbox."),
    Counted("duplicates", "segments", EDGE, "Segments that the outbox had taken in already."),
    Counted("refused.misfit", "segments", EDGE, "Segments that were compressed before the edge."),
    Counted("dropped.relay_full", "segments", EDGE, "Segments that found too many others waiting."),
    Counted("dropped.relay_share", "segments", EDGE, "Segments beyond the share of a device."),
    Counted(SHED, "segments", EDGE, "Segments dropped from a full outbox, by priority."),
    Counted("bytes_up", "bytes", EDGE, "Size of the segments sent to the cloud."),
    Counted("resent", "segments", EDGE, "Segments put in line for the cloud again."),
    Counted("forwarded", "segments", EDGE, "Segments deleted because the cloud has them."),
    Counted("dropped.receipt", "messages", EDGE, "Acknowledgements that found no room."),
    Counted("outbox_failures", "failures", EDGE, "Failures of the outbox."),
    Counted("forgotten.boots", "boots", EDGE, "Boots whose segment numbers are kept no longer."),
    Counted("forgotten.runs", "runs", EDGE, "Runs of segment numbers that are kept no longer."),
    Counted("policy_switches", "switches", EDGE, "Times that a policy came into force."),
    Counted("policies_refused", "releases", EDGE, "Releases that were refused."),
    Counted("engine_faults", "faults", EDGE, "Faults of a policy's engine."),
    Counted("parts_unasked", "messages", EDGE, "Parts of a release that nobody had asked for."),
    Counted("download_stalls", "stalls", EDGE, "Times that no part of a release came for a while."),
    Counted("refused.unexpected", "messages", EDGE, "Messages of kinds the edge does not take."),
    Counted("refused.stranger", "messages", EDGE, "Messages that name another device or boot."),
    Counted("refused.hello", "messages", SERVERS, "Sessions asked for and not granted."),
    Counted(REFUSED, "segments", SERVERS, "Segments that can never be stored, by reason."),
    Counted("dropped.hung", "messages", SERVERS, "Messages that came during a hang and found "
            "no room."),
    Counted("ingested", "segments", CLOUD, "Segments stored, those of the twin not included."),
    Counted("duplicate", "segments", CLOUD, "Segments that were stored already."),
    Counted("altered", "segments", CLOUD, "Segments that came again with other bytes."),
    Counted("refused.message", "messages", CLOUD, "Messages of kinds the cloud does not take."),
    Counted("dropped.busy", "segments", CLOUD, "Segments that found too many others waiting."),
    Counted("dropped.disk", "segments", CLOUD, "Segments whose commit failed."),
    Counted("failed.commit", "failures", CLOUD, "Commits that failed, not by the database."),
    Counted(FAILED, "failures", CLOUD, "Steps of learning and releasing that failed."),
    Counted(SAMPLES, "rows", CLOUD, "Decisions read for learning, by source: lived or twin."),
    Counted(OUTCOMES_REFUSED, "outcomes", CLOUD, "Outcomes of episodes that are not believed."),
    Counted("rounds", "rounds", CLOUD, "Rounds of learning that were concluded."),
    Counted("released", "releases", CLOUD, "Releases made or found at the start."),
    Counted("withdrawn", "releases", CLOUD, "Releases withdrawn."),
    Counted("offers", "messages", CLOUD, "Offers of a release to an edge."),
    Counted("parts", "messages", CLOUD, "Parts of a release sent."),
    Counted("release_refused", "messages", CLOUD, "Times that an edge said it refused a release."),
    Counted("refused.fetch_unknown", "messages", CLOUD, "Fetches of a release that is not there."),
    Counted("refused.fetch_range", "messages", CLOUD, "Fetches of bytes beyond a release."),
    Counted("refused.fetch_often", "messages", CLOUD, "Fetches by an edge that asks too often."),
    Counted(PHASE_S, "s", CLOUD, "Time that the learning loop spent in a phase."),
    Counted("events_dropped", "events", NODES, "Events that found no room in a report."),
    Counted("reports.dropped", "reports", NODES, "Reports for which the queue was full."),
    Counted("reports.unfit", "reports", NODES, "Reports too big to be sent whole."),
    Counted("poses.dropped", "messages", DEVICE, "Poses for which the queue was full, or too "
            "big."),
    Counted(MESSAGES_SENT, "messages", NODES, "Messages of a stream handed to the link."),
    Counted(MESSAGES_RECEIVED, "messages", NODES, "Messages of a stream that came."),
    Counted(MESSAGES_DROPPED, "messages", NODES, "Messages of a stream dropped here, by reason."),
    Counted(FRAMES_REFUSED, "frames", NODES, "Frames that came and were refused, by reason."),
    Counted(OFFERED, "frames", NODES, "Frames put on a modelled link, up or down."),
    Counted(CARRIED, "frames", NODES, "Frames that a modelled link did not lose."),
    Counted(DUPLICATED, "frames", NODES, "Second copies that a modelled link made."),
    Counted(LOST, "frames", NODES, "Frames that a modelled link lost, by reason; `unreachable`: "
            "carried, and found nobody."),
    Counted(DELIVERED, "frames", NODES, "Frames and copies that arrived."),
    Counted(UNDER_WAY, "frames", NODES, "Frames and copies not arrived yet; falls as they arrive."),
    Counted("malformed", "messages", ROOF, "Messages that were no report of the run."),
    Counted(MEASURED_J, "J", ROOF, "Energy by a meter of the host, the whole machine's."),
)
# fmt: on

_PARAMETER = re.compile(r"<(\w+)>")
_VALUES: dict[str, Iterable[str]] = {"stream": STREAM_NAME.values(), "way": WAYS}
"""The values of these parameters; of the others any text is one."""


@lru_cache(maxsize=1024)
def member(family: str, *values: str) -> str:
    """The name of one counter of a family. Raises ValueError unless each part has its value."""
    literals = _PARAMETER.split(family)[::2]
    return "".join(a + b for a, b in zip(literals, (*values, ""), strict=True))


def parsed(family: str, name: str) -> tuple[str, ...] | None:
    """The values of a family's parts in `name`; None if `name` is not of this family."""
    found = _pattern(family).fullmatch(name)
    return found.groups() if found else None


def members(family: str, counters: Mapping[str, float], *values: str) -> dict[str, float]:
    """The counters of a family by their last part; the parts before it have these `values`."""
    found = ((parsed(family, name), n) for name, n in counters.items())
    return {parts[-1]: n for parts, n in found if parts and parts[:-1] == values}


@lru_cache(maxsize=1024)
def _pattern(family: str) -> re.Pattern[str]:
    pieces = _PARAMETER.split(family)
    for i, piece in enumerate(pieces):
        pieces[i] = f"({'|'.join(_VALUES.get(piece, ('.+',)))})" if i % 2 else re.escape(piece)
    return re.compile("".join(pieces))


def page() -> str:
    """The table as a page of Markdown."""
    lines = (f"| `{c.name}` | {c.unit} | {', '.join(c.roles)} | {c.meaning} |" for c in COUNTERS)
    return "\n".join((_HEAD, *lines))


_HEAD = """\
# The counters of a report

Each process reports its counters once a second; a record keeps them in `parts/`. A counter only
grows while its process lives, unless its line says otherwise. A name with a part in angle brackets
stands for one counter for each value of that part. This page is printed by
`python -m tierloop.contract.counters`.

| name | unit | counted by | meaning |
|---|---|---|---|"""

if __name__ == "__main__":
    print(page())
