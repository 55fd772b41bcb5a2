"""The table of counters: its names, its page, and that nothing is counted beside it."""

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest
from virtual_plants import deployment, plants

import tierloop
from tierloop.contract.counters import (
    COUNTERS,
    FRAMES_REFUSED,
    LOST,
    MESSAGES_DROPPED,
    REFUSED,
    member,
    members,
    page,
    parsed,
)
from tierloop.contract.messages import Report
from tierloop.fuzz import coverage

ROOT = Path(tierloop.__file__).parent
ROOMS = ("device", "edge", "cloud", "link", "stack")


def undeclared(names: Iterable[str], role: str) -> list[str]:
    entries = [c.name for c in COUNTERS if role in c.roles]
    return [n for n in names if all(parsed(entry, n) is None for entry in entries)]


def test_a_name_is_made_of_its_parts_and_taken_apart_again():
    name = member(MESSAGES_DROPPED, "observation", "full")
    assert name == "link.observation.dropped.full"
    assert parsed(MESSAGES_DROPPED, name) == ("observation", "full")
    assert member("ticks") == "ticks"
    assert parsed("ticks", "ticks") == ()
    assert parsed(REFUSED, "outcomes.refused.time") is None
    for parts in ((), ("up",), ("up", "cut", "more")):
        with pytest.raises(ValueError, match="zip"):
            member(LOST, *parts)


def test_families_that_look_alike_are_told_apart():
    counters = {
        "link.up.dropped.cut": 1.0, "link.down.dropped.cut": 2.0,
        "link.frames.dropped.damaged": 3.0, "link.part.dropped.full": 4.0,
    }  # fmt: skip
    assert members(LOST, counters, "down") == {"cut": 2.0}
    assert members(FRAMES_REFUSED, counters) == {"damaged": 3.0}
    assert members(MESSAGES_DROPPED, counters, "part") == {"full": 4.0}
    for name in counters:
        assert sum(parsed(c.name, name) is not None for c in COUNTERS) == 1


def test_no_counter_is_declared_twice():
    declared = [(c.name, role) for c in COUNTERS for role in c.roles]
    assert len(declared) == len(set(declared))


def test_the_page_is_what_the_table_prints():
    published = (ROOT.parent / "docs" / "counters.md").read_text()
    assert published == page() + "\n", (
        "run: python -m tierloop.contract.counters > docs/counters.md"
    )


def test_every_counter_of_a_run_with_faults_is_declared():
    def told(report: Report) -> None:
        for name in undeclared(report.counters, report.role):
            strange.add((report.role, name))

    strange: set[tuple[str, str]] = set()
    with plants(deployment(1)) as p:
        p.run(2)
        conditions = p.stack.links["p-0", "edge"].conditions
        conditions.cut = True
        p.run(1)
        conditions.cut, conditions.duplicate, conditions.corrupt = False, 0.3, 0.3
        p.run(1)
        p.stack.crash("edge")
        p.run(1)
        p.stack.restart("edge")
        p.run(1)
        p.stack.finish()
        for report in p.reports:
            told(report)
        assert not strange
        seen = {name for report in p.reports for name in report.counters}
        assert {"ticks", "answered", "link.up.dropped.cut", "link.up.duplicated"} <= seen
        assert any(parsed(FRAMES_REFUSED, name) for name in seen)
        edge = next(report for report in p.reports if report.role == "edge")
        edge.counters["segments.invented"] = 1.0
        told(edge)
        assert strange == {("edge", "segments.invented")}


def test_every_name_written_in_a_tier_is_declared():
    found = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.AugAssign(
                        target=ast.Subscript(
                            value=ast.Attribute(attr="counts" | "_counts") | ast.Name(id="counts"),
                            slice=ast.Constant(value=str(name)),
                        )
                    ):
                        found.add((room, name))
                        assert not undeclared([name], room), (path, name)
                    case _:
                        pass
    assert len(found) > 40


def test_the_marks_of_the_fuzzer_are_declared():
    for role, name in coverage.COUNTED.values():
        assert any(role in c.roles and (c.name == name or parsed(c.name, name) is not None)
                   for c in COUNTERS), name  # fmt: skip
