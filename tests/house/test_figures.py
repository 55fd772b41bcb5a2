"""Documents and docs/figures.toml say the same; what is exact and quick to run still holds."""

import re
from collections import Counter

import figures
import pytest
from figure_list import LIST, Figure, find, load

LISTED = load(figures.ROOT)
QUICK_S = 1.0
"""What takes longer is left to `make figures`."""
DOCUMENTS = {
    str(path.relative_to(figures.ROOT)): path.read_text("utf-8")
    for path in (figures.ROOT / "README.md", *sorted((figures.ROOT / "docs").glob("*.md")))
}
UNIT = (
    r"\s?(?:%|(?:ms|us|s|Hz|J|kJ|W|Wh|V|kB|MB|GB|Mbit/s|x|rad|mrad|mm|m|of \d"
    r"|(?:second|minute|hour|CPU hour)s?)\b)"
)
NUMBER = r"(?<![\w.,/^-])\d[\d,]*(?:\.\d+)?"


def figures_in(document):
    """Where numbers stand that have a unit, or begin a cell of a table; none of code."""
    blank = r"```.*?```|`[^`\n]*`|\]\([^)]*\)"
    text = re.sub(blank, lambda code: re.sub(r"\S", "_", code[0]), document, flags=re.S)
    for found in re.finditer(NUMBER, text):
        cell = text[text.rfind("\n", 0, found.start()) + 1 : found.start()].rpartition("|")
        if re.match(UNIT, text[found.end() :]) or (cell[1] and not cell[2].strip()):
            yield found.start()


def spans_of(entry, document):
    """Where the words stand that an entry answers for: none of what " ... " leaves out.

    The rest of a block, as a table, is answered for where it is printed or given as a whole.
    """
    found = find(entry.text, document)
    if not found:
        return
    end = found.start()
    whole = entry.text.endswith(" ...") and not getattr(entry, "reads", [])
    pieces = entry.text.removesuffix(" ...").split(" ... ")
    for n, piece in enumerate(pieces, 1):
        words = find(f"{piece} ..." if whole and n == len(pieces) else piece, document[end:])
        yield end + words.start(), end + words.end()
        end += words.end()


def test_what_an_entry_leaves_out_it_does_not_answer_for():
    document = "takes 1 ms, then 2 ms, at last 3 ms\nand 4 ms\n\n5 ms"

    def answered(text, **reads):
        entry = Figure(file="", text=text, command="", **reads)
        return [document[begin:end] for begin, end in spans_of(entry, document)]

    assert answered("takes {1} ms ... last {3} ms") == ["takes 1 ms", "last 3 ms"]
    assert answered("takes 1 ms ... last ...") == ["takes 1 ms", "last 3 ms\nand 4 ms"]
    assert answered("last {3} ...", reads=["x"]) == ["last 3"]


@pytest.mark.parametrize("file", DOCUMENTS)
def test_every_figure_of_a_document_is_in_the_list(file):
    document = DOCUMENTS[file]
    spans = [
        span for entry in entries() if entry.file == file for span in spans_of(entry, document)
    ]
    unlisted = [
        f"{file}:{document.count(chr(10), 0, at) + 1}: {document[at : at + 30]!r}"
        for at in figures_in(document)
        if not any(begin <= at < end for begin, end in spans)
    ]
    assert not unlisted, f"give each a command, or a reason to have none, in {LIST}"


def entries():
    return [*LISTED.figure, *LISTED.given]


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: f"{entry.file}: {entry.text[:50]}")
def test_an_entry_stands_in_its_document_once(entry):
    found = find(entry.text, DOCUMENTS[entry.file])
    assert found, "the document says something else"
    assert not find(entry.text, DOCUMENTS[entry.file][found.end() :]), "it says so twice"
    if isinstance(entry, Figure):
        assert len(found.groups()) == len(entry.reads), "one read for each figure in braces"


def test_every_command_is_known_and_prints_a_figure():
    used = {figure.command for figure in LISTED.figure}
    needed = {need for command in LISTED.command.values() for need in command.needs}
    assert used | needed == set(LISTED.command)


def test_all_of_it_takes_twenty_minutes_at_most():
    assert sum(command.seconds for command in LISTED.command.values()) <= 20 * 60


def test_what_is_exact_and_quick_holds():
    quick = [n for n, c in LISTED.command.items() if c.clock == "exact" and c.seconds < QUICK_S]
    chosen = [figure for figure in LISTED.figure if figure.command in quick]
    findings, failed = figures.judge(chosen, LISTED, figures.ROOT)
    assert not failed
    assert [finding for finding in findings if not finding.holds] == []
    assert Counter(finding.figure.file for finding in findings)["README.md"] > 0
