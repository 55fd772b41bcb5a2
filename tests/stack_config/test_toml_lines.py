"""The line that a complaint names is that of the key, whatever stands around it; in linear time."""

import contextlib
import shutil
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierloop.contract.errors import UserError
from tierloop.stack.config import budget_tables, toml
from tierloop.stack.config.deployment import load
from tierloop.stack.config.toml import SIZE_MAX, Source
from tierloop.stack.config.toml_lines import DEPTH_MAX, places

HERE = Path("d.toml")
DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
PLAIN = 'name = "x"\n\n[run]\nduration_s = 5\nuntil_episods = 2\n'


def leaves(value, above=()):
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in pairs:
        keys = (*above, str(key))
        yield keys
        if isinstance(one, dict | list):
            yield from leaves(one, keys)


NAMES = st.text("ab", min_size=1, max_size=2)
NOISE = ["", "# c = 1", "  \t", "# [t] \u2028", '# """', "# it's \x85 a"]
SCALARS = [
    "1",
    "-0x1f", "1979-05-27 07:32:00", "true", '"a # b = c"', '"""\nq = 1\n[z]\n""""', "'''\n'\n'''",
    '"\\" ] }"', "'\\'", "inf",
]  # fmt: skip


def values(depth=2):
    scalar = st.sampled_from(SCALARS)
    if not depth:
        return scalar
    inner = values(depth - 1)
    gap = st.sampled_from(["", " ", "\n", " # x = [\n"])
    lists = st.tuples(st.lists(inner, max_size=3), gap).map(
        lambda v: f"[{v[1]}" + f",{v[1]}".join(v[0]) + f"{v[1]}]"
    )
    tables = st.lists(st.tuples(NAMES, inner), max_size=3, unique_by=lambda p: p[0]).map(
        lambda pairs: "{ " + ", ".join(f"{k} = {v}" for k, v in pairs) + " }"
    )
    return st.one_of(scalar, lists, tables)


STATEMENTS = st.one_of(
    st.sampled_from(NOISE),
    st.tuples(NAMES, values()).map(lambda p: f"{p[0]} = {p[1]}"),
    st.tuples(NAMES, NAMES, values()).map(lambda p: f' {p[0]} . "{p[1]}"={p[2]}'),
    st.tuples(NAMES, NAMES).map(lambda p: f"[ {p[0]}.'{p[1]}' ]"),
    NAMES.map(lambda name: f"[[l{name}]] # ]"),
    st.tuples(NAMES, NAMES).map(lambda p: f"[l{p[0]}.{p[1]}]"),
)


@given(st.lists(STATEMENTS, max_size=12))
def test_every_key_has_the_line_on_which_it_stands(statements):
    text, begins = "", []
    for statement in statements:
        try:
            tomllib.loads(text + statement + "\n")
        except tomllib.TOMLDecodeError:
            continue  # a table twice, say
        begins.append(text.count("\n") + 1)
        text += statement + "\n"
    found = places(HERE, text)
    assert set(found) == set(leaves(tomllib.loads(text)))
    lines = text.split("\n")
    for keys, line in found.items():
        if not keys[-1].isdigit():
            assert keys[-1] in lines[line - 1], (keys, line)


def test_a_table_in_a_list_belongs_to_the_entry_above_it():
    text = "[[l]]\nx=1\n[l.t]\ny=1\n[[l]]\n[l.t]\ny=1\n[[l.m]]\n[[l.m]]\nz=1\n"
    found = places(HERE, text)
    assert found["l", "0", "t", "y"] == 4
    assert found["l", "1", "t", "y"] == 7
    assert found["l", "1", "m", "1", "z"] == 10
    assert found["l",] == 1


@given(st.text("[]{}=.,\"'\\#\n a1", max_size=60))
def test_any_text_is_read_to_some_end(text):
    found = places(HERE, text)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (PLAIN, 5),
        (PLAIN.replace("\n", "\r\n"), 5),
        (PLAIN.replace("\n", "\r"), 5),
        ("\ufeff" + PLAIN, 5),
        ("# a \u2028 b \x85 c\n" + PLAIN, 6),
        ('[policy]\ninitial = """\nuntil_episods = 1\n[run]\n"""\n[run]\nuntil_episods = 2', 7),
        ('name = "[run] \u2028"\n[run] # [device]\n# until_episods = 1\n"until_episods" = 2', 4),
        ("run.until_episods = 1", 1),
        ("run = { duration_s = 1, until_episods = 2 }", 1),
        ("[scenario]\nrobots = [\n'a', # ]\n]\n[run]\n until_episods=1", 6),
    ],
)
def test_the_line_of_a_slip_is_right_whatever_ends_the_lines(tmp_path, text, line):
    path = tmp_path / "d.toml"
    path.write_bytes(text.encode())
    with pytest.raises(UserError, match="unknown key 'until_episods'") as error:
        load(path)
    assert str(error.value).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize("odd", ["\ufeff{}", "{}"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_every_kind_of_file_is_read_with_a_mark_and_with_any_line_end(tmp_path, odd, ends):
    def strange(name):
        text = odd.format((DEPLOYMENTS / name).read_text(encoding="utf-8").replace("\n", ends))
        (tmp_path / Path(name).name).write_bytes(text.encode())
        return tmp_path / Path(name).name

    shutil.copy(DEPLOYMENTS.parent / "stack/config/profiles/orin-nx.toml", tmp_path / "plain.toml")
    cell, faults = strange("sorting-cell.toml"), strange("faults/bad-day.toml")
    profile = strange("../stack/config/profiles/orin-nx.toml")
    found = load(cell, [f'edge.hardware="{profile}"'], faults)
    assert len(found.fault) == 15
    assert found.seed == 1
    budgets = strange("../benchmarks/budgets.toml")
    assert budget_tables.load(budgets)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (PLAIN.encode("utf-16"), "UTF-16 text, not UTF-8; save it as UTF-8"),
        (PLAIN.encode("utf-16-le"), "UTF-16 or binary data; save it as UTF-8"),
        (PLAIN.encode("utf-32"), "UTF-32 text, not UTF-8; save it as UTF-8"),
        ('name = "x"\n# Bänder\n'.encode("latin-1"), "d.toml:2: byte 0xe4 is not UTF-8 text"),
        (b"# " + b"x" * SIZE_MAX, "larger than 1 MiB"),
        (b"a=" + b"[" * 900_000, "nested more than 16 levels deep"),
        (b"a=1\nb=" + b"{a=" * 50_000, "d.toml:2: nested more than 16 levels deep"),
        (b"a." * 100_000 + b"a=1", "nested more than 16 levels deep"),
        (b"[" + b"a." * 100_000 + b"a]", "nested more than 16 levels deep"),
        (b"seed = " + b"9" * 5000, "cannot be read as TOML: Exceeds the limit"),
        (b"name='x'\nseed = 0x" + b"f" * 5000, "d.toml:2: key 'seed': expected 0 or"),
        (b'"a\\nb" = 1', r"d.toml:1: unknown key 'a\nb'"),
        ('"\u0000'.encode() + b" \x1b[31m", "UTF-16 or binary data"),
        (b"k" * 100_000 + b" = 1", "unknown key 'kkkkk"),
        (b"name = 'x' # a\rb = 1\n", "d.toml:1: not TOML"),
        (b"name = 'x'\nrun = [\n\n\n", "d.toml:5: not TOML"),
    ],
)
def test_what_can_be_no_such_file_is_told_in_one_short_line(tmp_path, data, words):
    path = tmp_path / "d.toml"
    path.write_bytes(data)
    begun_s = time.process_time()
    with pytest.raises(UserError) as error:
        load(path)
    assert time.process_time() - begun_s < 2
    text = str(error.value).replace(f"{tmp_path}/", "")
    assert words in text
    assert text.isprintable()
    assert len(text) < 250


@pytest.mark.parametrize(
    "option", ["a=" + "[" * 5000, "seed=" + "9" * 5000, ".".join("a" * 5000) + "=1"]
)
def test_an_option_that_nothing_could_read_is_one_line(option):
    with pytest.raises(UserError) as error:
        load(DEPLOYMENTS / "sorting-cell.toml", [option])
    assert str(error.value).startswith("--set ")


@pytest.mark.parametrize(
    "option", ["seed=0x" + "f" * 400, "seed=-1_000_000_000_000_000_000_000_000"]
)
def test_a_number_too_large_for_arithmetic_is_no_exception(option):
    with pytest.raises(UserError, match="--set seed: key 'seed': expected 0 or"):
        load(DEPLOYMENTS / "sorting-cell.toml", [option])


def test_an_option_is_one_value_not_several_lines(tmp_path):
    with pytest.raises(UserError, match="--set seed: key 'seed': expected int, got str"):
        load(DEPLOYMENTS / "sorting-cell.toml", ["seed=1\nx=2"])


ENDLESS = {
    "blanks": " ", "equals": "=", "quotes": '"', "apostrophes": "'", "brackets": "[ ",
    "headers": "[[ a\n",
    "dots": ". ", "text": '"""\\',
    "comments": "#\n", "keys": "a ", "lists": "a=[1]\n", "commas": "a=[1,",
}  # fmt: skip


@pytest.mark.parametrize("unit", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("before", ["", 'name = "x"\n', 'name = """', "name = [", "[t"])
def test_the_reader_is_linear_in_what_it_reads(unit, before):
    def took_s(n):
        text = before + unit * (n // len(unit))
        begun_s = time.process_time()
        with contextlib.suppress(UserError):
            places(HERE, text)
        return time.process_time() - begun_s

    assert took_s(100_000) < 1.0  # a quadratic reader takes minutes


def test_a_blank_line_costs_next_to_nothing(tmp_path):
    (tmp_path / "d.toml").write_text('name = "x"\n' + " " * 900_000 + "\n")
    begun_s = time.process_time()
    Source(tmp_path / "d.toml")
    assert time.process_time() - begun_s < 1.0


def test_nothing_of_the_project_comes_near_the_bounds():
    """docs/figures.toml is a developer's, who reads it with tomllib: no bound is meant for it."""
    for file in DEPLOYMENTS.parent.glob("*/**/*.toml"):
        if not {".venv", "docs"} & {*file.parts}:
            text = file.read_text(encoding="utf-8")
            assert len(text) < toml.SIZE_MAX / 50
            assert all(len(keys) < DEPTH_MAX / 2 for keys in places(file, text))
