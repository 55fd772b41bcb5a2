"""What comes out of a run of benchmarks: JSON, JUnit, Markdown, benchmark-action JSON, samples."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from html import escape
from pathlib import Path

import msgspec
import numpy as np

from tierloop.bench.page import page
from tierloop.bench.protocol import Series
from tierloop.bench.statistics import Verdict
from tierloop.bench.verdicts import Document, Result, judged_figure, sentence
from tierloop.bench.words import cells, number, remarks, title
from tierloop.contract.reading import reading
from tierloop.stack.record.files import write

JSON, JUNIT, MARKDOWN, ACTION = "bench.json", "junit.xml", "bench.md", "smaller-is-better.json"
PAGE, SAMPLES = "index.html", "samples.npz"
RUN_MARKDOWN = "budgets.md"

SCHEMA_FILE = Path(__file__).with_name("bench.schema.json")
"""The published JSON Schema of bench.json."""


def schema() -> bytes:
    """The JSON Schema of bench.json, formatted."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    document |= msgspec.json.schema(Document)
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def read(path: Path) -> Document:
    """The document in a bench.json. Raises Unreadable."""
    with reading(path):
        return msgspec.json.decode(path.read_bytes(), type=Document)


def put(
    document: Document, series: Sequence[Series], history: Sequence[Document], out: Path
) -> None:
    """Writes every format into the folder `out`; `history`: earlier runs, oldest first."""
    out.mkdir(parents=True, exist_ok=True)
    write(out / JSON, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    write(out / JUNIT, junit(document))
    write(out / MARKDOWN, markdown(document).encode())
    write(out / ACTION, msgspec.json.format(msgspec.json.encode(action(document)), indent=2))
    write(out / PAGE, page(document, history).encode())
    arrays = {f"{s.metric}/{side}/{k}": block for s in series
              for side, blocks in (("ours", s.ours), ("bare", s.bare))
              for k, block in enumerate(blocks)}  # fmt: skip
    with (out / SAMPLES).open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def put_run(document: Document, out: Path) -> None:
    """Writes what a CI reads of the budgets of one run into its record. Raises OSError."""
    write(out / JUNIT, junit(document))
    write(out / RUN_MARKDOWN, markdown(document).encode())


def junit(document: Document) -> bytes:
    """A suite a benchmark, a case a line: failed, or skipped where inconclusive or not judged."""
    root = ET.Element("testsuites", name="tierloop")
    for result in document.results:
        _suite(root, result)
    if document.missing:
        suite = ET.SubElement(root, "testsuite", name="budgets")
        for what in document.missing:
            case = ET.SubElement(suite, "testcase", classname="budgets", name=what)
            ET.SubElement(case, "failure", message=f"{what} has no budget")
        _count(suite, 0.0)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _suite(root: ET.Element, result: Result) -> None:
    suite = ET.SubElement(root, "testsuite", name=result.name)
    name = f"bench.{result.name}"
    if result.error:
        case = ET.SubElement(suite, "testcase", classname=name, name="run")
        ET.SubElement(case, "error", message=result.error)
    for line in result.lines:
        case = ET.SubElement(suite, "testcase", classname=name, name=title(line))
        if line.verdict is Verdict.FAIL:
            ET.SubElement(case, "failure", message=sentence(line))
        elif line.verdict in (Verdict.INCONCLUSIVE, Verdict.NOT_JUDGED):
            ET.SubElement(case, "skipped", message=f"{line.verdict}: {sentence(line)}")
        else:
            ET.SubElement(case, "system-out").text = sentence(line)
    _count(suite, result.seconds)


def _count(suite: ET.Element, seconds: float) -> None:
    cases = suite.findall("testcase")
    for case in cases:
        case.set("time", f"{seconds / len(cases):.3f}")
    suite.set("tests", str(len(cases)))
    for plural, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(plural, str(sum(case.find(kind) is not None for case in cases)))
    suite.set("time", f"{seconds:.3f}")


def markdown(document: Document) -> str:
    """One table for a job summary, and what needs a word below it."""
    heads = ("benchmark", "metric", "", "figure", "baseline", "times baseline", "budget", "verdict")
    rows: list[tuple[str, ...]] = [heads, ("---",) * 3 + ("---:",) * 4 + ("---",)]
    rows += [cells(result, line) for result in document.results for line in result.lines]
    text = [f"| {' | '.join(row)} |" for row in rows]
    text += ["", *(f"- {escape(remark, quote=False)}" for remark in remarks(document))]
    machine = document.machine
    stamp = f"{machine.processor}, {machine.cores} cores, Python {machine.python}"
    text += ["", f"tierloop {machine.tierloop}, {stamp}, {document.at}."]
    text += [f"Brackets: {document.confidence:.0%} intervals."]
    return "\n".join(text) + "\n"


def action(document: Document) -> list[dict[str, str | float]]:
    """`customSmallerIsBetter` of the usual benchmark action: each line in the unit it is judged in.

    Multiples of the baseline where that is the budget, for the action compares with runs on
    other machines.
    """
    found: list[dict[str, str | float]] = []
    for result in document.results:
        for line in result.lines:
            judged = judged_figure(line)
            if judged is None or judged.value is None:
                continue
            entry: dict[str, str | float] = {
                "name": f"{result.name}: {title(line)}",
                "unit": line.limit_unit or line.unit, "value": judged.value,
                "extra": f"{number(line.figure.value)} {line.unit}; {line.clock} clock",
            }  # fmt: skip
            if judged.low is not None and judged.high is not None:
                entry["range"] = f"{judged.low:g} to {judged.high:g}"
            found.append(entry)
    return found


if __name__ == "__main__":
    SCHEMA_FILE.write_bytes(schema())
