"""docs/figures.toml: which figure stands where, what prints it, and whether the two agree."""

import json
import re
import tomllib
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

LIST = "docs/figures.toml"
BEFORE, BEHIND = 40, 15
"""How much is shown of what stands around a figure."""


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """`run` is typed in the checkout; `needs` names commands to run before it.

    What an "exact" one prints is the same everywhere. What the others print is judged on the
    machine of the list alone: a policy is learnt to other bits on another processor ("virtual"),
    processor time ("cpu") and elapsed time ("wall") are the machine's own. `seconds` is what it
    took there.
    """

    run: str
    clock: Literal["exact", "virtual", "cpu", "wall"]
    seconds: float
    needs: list[str] = []


class Figure(msgspec.Struct, forbid_unknown_fields=True):
    """Words of a document, its figures in braces; `reads` finds each in what `command` prints.

    A read is a regular expression with one group or, if it begins with a dot, a way through the
    JSON that the output ends with; a number may follow or precede it with " / " between. What an
    "exact" command prints it must match once, of others it takes the first. Without `reads` the
    words themselves, as those of a table, are printed line by line. The tolerance is relative; at 0
    the figures agree to the digits written; "varies" is shown and never judged.
    """

    file: str
    text: str
    command: str
    reads: list[str] = []
    tolerance: float | Literal["at most", "at least", "varies"] = 0.0


class Given(msgspec.Struct, forbid_unknown_fields=True):
    """Words whose numbers no command prints, and why."""

    file: str
    text: str
    why: str


class FigureList(msgspec.Struct, forbid_unknown_fields=True):
    """`machine` is where all but the exact commands printed what stands in the documents."""

    machine: str
    command: dict[str, Command]
    figure: list[Figure]
    given: list[Given]


class Finding(NamedTuple):
    """A figure as it stands among its words, and as printed; `holds`: None if not judged."""

    figure: Figure
    words: str
    there: str
    now: str
    holds: bool | None


def load(root: Path) -> FigureList:
    return msgspec.convert(tomllib.loads((root / LIST).read_text("utf-8")), FigureList)


def find(text: str, document: str) -> re.Match[str] | None:
    """The words, however their lines are broken; each figure in braces is a group.

    " ... " stands for any words between, and at the end for the rest of the block of lines.
    """
    begin = text.removesuffix(" ...")
    rest = r".*(?:\n(?!```).+)*" if begin != text else ""
    words = re.sub(r"\\\{(.*?)\\\}", r"(\1)", re.escape(" ".join(begin.split())))
    words = words.replace(re.escape(" ... "), r"[\s\S]*?").replace(r"\ ", r"\s+")
    return re.search(words + rest, document)


def compare(
    figure: Figure, command: Command, document: str, output: str, judged: bool
) -> Iterator[Finding]:
    """Each figure of the words, or each of their lines, against what was printed."""
    once = command.clock == "exact"
    judged = judged and figure.tolerance != "varies"
    stands = find(figure.text, document)
    assert stands is not None, f"{figure.file} does not say: {figure.text}"
    if not figure.reads:
        printed = find(figure.text, output)
        lines = printed[0].splitlines() if printed else []
        for there, now in zip_longest(stands[0].splitlines(), lines, fillvalue=""):
            same = there.split() == now.split() if judged else None
            yield Finding(figure, figure.command, there, now, same)
        return
    for group, (there, how) in enumerate(zip(stands.groups(), figure.reads, strict=True), 1):
        begin, end = stands.span(group)
        words = " ".join(document[max(0, begin - BEFORE) : end + BEHIND].split())
        try:
            now = read(how, output, once)
        except (LookupError, ValueError, TypeError):
            yield Finding(figure, words, there, "", False)
        else:
            verdict = holds(there, now, figure.tolerance) if judged else None
            yield Finding(figure, words, there, written(now, there), verdict)


def read(how: str, output: str, once: bool) -> float:
    """The figure in what was printed. Raises LookupError, ValueError or TypeError without it.

    `once`: also if it is printed in more than one place, as a name is that two modules have.
    """
    if share := re.fullmatch(r"(\d\S*) / (.*)", how):
        return float(share[1]) / read(share[2], output, once)
    way, _, divisor = how.partition(" / ")
    if way.startswith("."):
        found = json.loads(output[output.index("{\n") :])
        for key in re.findall(r"[^.\[\]]+", way):
            found = found[int(key) if isinstance(found, list) else key]
    else:
        matches = [*re.finditer(way, output)]
        if not matches or (once and len(matches) > 1):
            raise LookupError(f"{way}: {len(matches)} times")
        found = matches[0][1].replace(",", "")
    return float(found) / float(divisor or 1)


def digits(text: str) -> int:
    """How many stand behind the point; below 0 for a round number of thousands."""
    whole, _, behind = text.replace(",", "").partition(".")
    zeros = len(whole) - len(whole.rstrip("0"))
    return len(behind) or (-zeros if zeros >= 3 else 0)


def holds(there: str, now: float, tolerance: float | str) -> bool:
    """Whether a figure is still what stands in the document."""
    was, rounding = float(there.replace(",", "")), 0.500001 * 10.0 ** -digits(there)
    match tolerance:
        case "at most":
            return now <= was + rounding
        case "at least":
            return now >= was - rounding
        case _:
            return abs(now - was) <= max(float(tolerance) * abs(was), rounding)


def written(now: float, there: str) -> str:
    """A figure with as many digits as the one that stands there."""
    text = f"{round(now, digits(there)):,.{max(0, digits(there))}f}"
    return text if "," in there or now >= 10_000 else text.replace(",", "")
