"""The words of a result: the cells of its row, its title, what needs a sentence."""

from tierloop.bench.statistics import Verdict
from tierloop.bench.verdicts import Document, Figure, Line, Result, sentence
from tierloop.contract.budget import Metric

MARKS = {
    Verdict.PASS: "pass", Verdict.FAIL: "**fail**", Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.NOT_JUDGED: "not judged",
}  # fmt: skip


def cells(result: Result, line: Line) -> tuple[str, ...]:
    """One row of a table."""
    metric = str(Metric(line.metric, line.unit, line.scenario))
    limit = f"{line.limit:g} {line.limit_unit}" if line.limit is not None else ""
    bare = number(line.bare.value) if line.bare else "-"
    return (
        result.name, metric, f"p{line.percentile:g}", f"{_spread(line.figure)} {line.unit}",
        f"{bare} {line.unit}" if line.bare else bare, _spread(line.ratio) if line.ratio else "-",
        limit, f"{MARKS[line.verdict]}{note(line)}" if line.verdict else "-",
    )  # fmt: skip


def note(line: Line) -> str:
    """What a verdict needs beside it; `remarks` says what a broken or unclear one needs."""
    said = line.why and line.verdict in (Verdict.PASS, Verdict.NOT_JUDGED)
    return f" ({line.why})" if said else ""


def remarks(document: Document) -> list[str]:
    """What was broken, crashed, lacks a budget or could not be told: a sentence each."""
    said = [f"{what} has no budget" for what in document.missing]
    for result in document.results:
        if result.error:
            said.append(f"{result.name} crashed: {result.error}")
        for line in result.lines:
            if line.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
                said.append(remark(line))
    return said


def remark(line: Line) -> str:
    """What is to be said of a line that did not pass."""
    word = "budget exceeded" if line.verdict is Verdict.FAIL else "inconclusive"
    return f"{word}: {sentence(line)}"


def title(line: Line) -> str:
    """Metric, scenario, percentile, and the unit of its limit if that is the baseline's."""
    name = f"{Metric(line.metric, line.unit, line.scenario)} p{line.percentile:g}"
    return f"{name} (x bare)" if line.limit_unit == "x" else name


def _spread(figure: Figure) -> str:
    if figure.value is None or (figure.low is not None and figure.low == figure.high):
        return number(figure.value)
    return f"{number(figure.value)} [{number(figure.low)}, {number(figure.high)}]"


def number(value: float | None) -> str:
    """Three digits of a figure."""
    if value is None:
        return "?"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
