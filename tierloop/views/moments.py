"""A run told again: every decision, event and outcome of a record as a moment, in time order."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.ledger import INDEX, LEDGER, Refusal, Rung, Tier
from tierloop.contract.messages import ActionChunk, Outcome
from tierloop.contract.streams import STREAMS
from tierloop.stack.record.tally import LedgerRows
from tierloop.stack.record.whole import WholeRecord

LedgerRow = dict[str, int]
PARTS_UJ = [column.name for column in LEDGER if column.name.endswith("_uj")]
DEADLINE_NS = 2 * NS_PER_MS * next(s.deadline_ms for s in STREAMS if s.message is ActionChunk)
"""From sending to answer: what the streams table allows an observation and its answer."""


class Moment(NamedTuple):
    """Something at an instant; `row` is the ledger's, by column, if it is a decision."""

    at_ns: int
    process: str
    what: str
    text: str
    row: LedgerRow | None = None


def moments(
    record: WholeRecord, device: str | None = None, only: str | None = None
) -> list[Moment]:
    """All of a run, or of one device and the processes that serve it, in order of time.

    `only`: of the decisions, "refused" or "late" ones alone.
    """
    devices = {life.process for life in record.of("device")}
    found: list[Moment] = []
    for life, decisions in record.ledgers():
        if device in (None, life.process):
            found += _lived(life.process, decisions, record.judged(life), only)
    for one in record.happenings:
        if device in (None, one.process) or one.process not in devices:
            found.append(Moment(one.at_ns, one.process, one.name, one.detail))
    return sorted(found, key=lambda m: (m.at_ns, m.process, m.what, m.text))


def rows(decisions: LedgerRows) -> Iterator[LedgerRow]:
    """Ledger rows int64[R, C], by column."""
    for values in decisions:
        yield dict(zip(INDEX, values.tolist(), strict=True))


def late(row: LedgerRow) -> bool:
    """No answer came, or it came after the streams' deadlines or after it had expired."""
    waited_ns = row["received_ns"] - row["sent_ns"]
    return not row["received_ns"] or waited_ns > DEADLINE_NS or row["refused"] == Refusal.EXPIRED


def told(row: LedgerRow) -> str:
    """One decision in one line: its stages, what acted, what it cost."""
    words = [f"#{row['seq']}", f"mode {Rung(row['rung']).name.lower()}"]
    if row["sent_ns"]:
        words.append(f"sent after {_ms(row['sent_ns'] - row['captured_ns'])}")
    if row["received_ns"]:
        there_ns = row["received_ns"] - row["sent_ns"]
        words.append(
            f"answered by v{row['policy_version']} on the {Tier(row['tier']).name.lower()} in "
            f"{_ms(there_ns)} (held {_ms(row['held_ns'])}, computed {_ms(row['compute_ns'])}, "
            f"batch {row['batch']})"
        )
        if row["way_bound_ns"] >= 0:
            ways = f"up {_ms(row['up_ns'])}, down {_ms(row['down_ns'])}"
            words.append(f"{ways} (± {_ms(row['way_bound_ns'])})")
    else:
        words.append("no answer")
    if row["applied_ns"]:
        words.append(f"first acted at age {_ms(row['applied_ns'] - row['captured_ns'])}")
    elif row["refused"]:
        words.append(f"refused: {Refusal(row['refused']).name.lower()}")
    elif row["received_ns"]:
        words.append("not used")
    if row["age_ns"] >= 0:
        words.append(f"the body at age {_ms(row['age_ns'])} (oldest {_ms(row['oldest_ns'])})")
    words.append(f"{row['bytes_up']} B up, {row['bytes_down']} B down")
    words.append(f"{sum(row[name] for name in PARTS_UJ) / 1e6:.3f} J")
    return ", ".join(words)


def within(all_: Iterable[Moment], start_ns: int, end_ns: int) -> list[Moment]:
    """The moments from `start_ns` until before `end_ns`."""
    return [moment for moment in all_ if start_ns <= moment.at_ns < end_ns]


def line(moment: Moment, origin_ns: int) -> str:
    """A moment as one line; seconds count from `origin_ns`."""
    at_s = (moment.at_ns - origin_ns) / NS_PER_S
    return f"{at_s:11.6f}  {moment.process:<8}  {moment.what:<16}  {moment.text}".rstrip()


def _lived(
    process: str, decisions: LedgerRows, episodes: Iterable[Outcome], only: str | None
) -> Iterator[Moment]:
    version = -1
    for row in rows(decisions):
        if row["applied_ns"] and row["policy_version"] != version:
            version = row["policy_version"]
            yield Moment(row["applied_ns"], process, "switch", f"v{version} acts from now on")
        if only is None or (late(row) if only == "late" else row["refused"] > 0):
            yield Moment(row["captured_ns"], process, "decision", told(row), row)
    for one in episodes:
        word = "success" if one.success else "failure"
        text = f"episode {one.number}: {one.reason}, v{one.policy_version}"
        yield Moment(one.ended_ns, process, word, text)


def _ms(time_ns: int) -> str:
    return f"{time_ns / NS_PER_MS:.2f} ms"
