"""Reads TOML strictly: every error names the file, the line (or the option) and the key."""

import codecs
import math
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from tierloop.contract.errors import UserError
from tierloop.contract.wording import near, shown, unknown_choice
from tierloop.stack.config.toml_lines import DEPTH_MAX, Keys, is_key, places

T = TypeVar("T", bound=msgspec.Struct)

SIZE_MAX = 2**20
"""Bytes of a file; the largest shipped has a hundredth of it."""

A_DEPLOYMENT = "a deployment file, such as deployments/sorting-cell.toml"

SMALLEST, LARGEST = 1e-12, 1e20
"""Numbers of a file beyond these mean nothing, and would overflow what is reckoned with them."""

_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip
_PLACE = re.compile(r" - at `\$((?:\.\w+|\[[^\]]*\])*)`\Z")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_CHOICE = re.compile(r"Invalid enum value '(.*)'")
_TYPE_NAMES = {"object": "table", "array": "list"}


def check_file(path: Path) -> None:
    """Raises UserError if the name cannot be a file's, or if it is a folder or a device."""
    check_name(path)
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: not a file")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def check_name(path: Path) -> None:
    """Raises UserError for a name, or a folder's above it, that no record could hold."""
    name = str(path.absolute())
    if "\0" in name:
        raise UserError(f"{str(path)!r}: the name of a file must not contain a null character")
    if not name.isascii() and any("\ud800" <= c <= "\udfff" for c in name):
        raise UserError(f"{name!r}: the name of the file is not UTF-8 text; rename the file")


class Source:
    """The text of one TOML file and the options that override it.

    Raises UserError if the file is missing, is no TOML, or an option is not KEY=VALUE; `wanted` is
    what the file should be, in words. A byte order mark and any kind of line end are read.
    """

    def __init__(self, path: Path, options: Sequence[str] = (), wanted: str = A_DEPLOYMENT) -> None:
        self.path = path
        text = _text(path, wanted)
        self._lines = places(path, text)
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(_syntax(path, text, str(error))) from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: cannot be read as TOML: {error}") from None
        self._options: dict[Keys, str] = {}
        for option in options:
            self._override(option)

    def convert(self, kind: type[T]) -> T:
        """Converts the data to a struct of this kind. Raises UserError in one line."""
        for keys, value in leaves(self.data):
            for number in _numbers(value):
                if fault := _insane(number):
                    raise UserError(self._complain(keys, fault))
        try:
            return msgspec.convert(self.data, kind)
        except msgspec.ValidationError as error:
            raise UserError(self._explain(kind, str(error))) from None

    def tables(self, key: str) -> list[tuple[str, dict[str, Any]]]:
        """The `[[key]]` tables, each with where it stands. Raises UserError if `key` is no list."""
        entries = self.data.get(key, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(f"{self.where((key,))}: expected [[{key}]] tables")
        return [(self.where((key, str(i))), entry) for i, entry in enumerate(entries)]

    def where(self, keys: Keys) -> str:
        """`FILE:LINE`, or the option that set `keys`, something in it, or what stands above it."""
        for option, said in self._options.items():
            if keys and option[: len(keys)] == keys and keys not in self._lines:
                return f"--set {said}"
        for n in range(len(keys), 0, -1):
            if keys[:n] in self._options:
                return f"--set {self._options[keys[:n]]}"
            if keys[:n] in self._lines:
                return f"{self.path}:{self._lines[keys[:n]]}"
        return str(self.path)

    def _override(self, option: str) -> None:
        key, separator, text = option.partition("=")
        keys = tuple(key.strip().split("."))
        if not separator or not all(keys):
            raise UserError(f"--set {option}: expected KEY=VALUE, as in run.duration_s=60")
        for part in keys:
            if not is_key(part):
                raise UserError(f"--set: unknown key {shown(part)}")
        if len(keys) > DEPTH_MAX:
            raise UserError(f"--set {keys[0]}: nested more than {DEPTH_MAX} levels deep")
        table = self.data
        for n, part in enumerate(keys[:-1], 1):
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise UserError(f"--set {key}: '{'.'.join(keys[:n])}' is a value, not a table")
        table[keys[-1]] = _value(key.strip(), text)
        self._options[keys] = key.strip()

    def _explain(self, kind: type[msgspec.Struct], text: str) -> str:
        detail, place = _split(text)
        keys = tuple(part for part in re.sub(r"\[[^\]]*\]", "", place).split(".") if part)
        if unknown := _UNKNOWN.fullmatch(detail):
            hint = near(unknown[1], _fields(kind, keys))
            table = f" in [{'.'.join(keys)}]" if keys else ""
            return f"{self.where((*keys, unknown[1]))}: unknown key '{unknown[1]}'{table}{hint}"
        if missing := _MISSING.fullmatch(detail):
            return self._complain((*keys, missing[1]), "missing")
        if detail.startswith("Expected"):
            return self._complain(keys, _in_toml(detail))
        if choice := _CHOICE.fullmatch(detail):
            known = get_args(_field(kind, keys))
            return self._complain(keys, unknown_choice(keys[-1], choice[1], known))
        return self._complain(self._culprit(kind, keys), detail)

    def _complain(self, keys: Keys, detail: str) -> str:
        table = f" in [{'.'.join(keys[:-1])}]" if keys[:-1] else ""
        key = f"key '{keys[-1]}'{table}: " if keys else ""
        return f"{self.where(keys)}: {key}{detail}"

    def _culprit(self, kind: type[msgspec.Struct], keys: Keys) -> Keys:
        """The key at or below `keys` without which a check of values passes; options first."""
        below = [path for path, _ in leaves(self.data) if path[: len(keys)] == keys]
        required = keys
        for path in sorted(below, key=lambda path: path not in self._options):
            try:
                msgspec.convert(_without(self.data, path), kind)
            except msgspec.ValidationError as error:
                if path[:-1] == keys and _MISSING.match(str(error)):
                    required = path
                continue
            return path
        return required


def only_tables(path: Path, key: str) -> Source:
    """Reads a file that contains only `[[key]]` tables. Raises UserError in one line."""
    source = Source(path, wanted=f"a file of [[{key}]] tables")
    for strange in source.data:
        if strange != key:
            raise UserError(
                f"{source.where((strange,))}: unknown key '{strange}'; "
                f"a {key} file contains only [[{key}]] tables"
            )
    return source


def _text(path: Path, wanted: str) -> str:
    """What a file says, its lines ended by newlines. Raises UserError if it is no such text."""
    check_file(path)
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; give {wanted}") from None
    if len(data) > SIZE_MAX:
        raise UserError(f"{path}: larger than {SIZE_MAX >> 20} MiB; give {wanted}")
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            raise UserError(f"{path}: {encoding} text, not UTF-8; save it as UTF-8")
    if b"\0" in data:
        raise UserError(f"{path}: not UTF-8 text but UTF-16 or binary data; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line, odd = data.count(b"\n", 0, error.start) + 1, data[error.start]
        what = f"byte 0x{odd:02x} is not UTF-8 text; save the file as UTF-8"
        raise UserError(f"{path}:{line}: {what}") from None
    return text if "\n" in text else text.replace("\r", "\n")


def _syntax(path: Path, text: str, error: str) -> str:
    at = re.search(r" \(at line (\d+), column \d+\)| \(at end of document\)", error)
    line = (at and at[1]) or text.count("\n") + 1
    return f"{path}:{line}: not TOML: {error[: at.start()] if at else error}"


def _value(key: str, text: str) -> Any:
    """What an option gives: a TOML value, or bare words. Raises UserError if it is too deep."""
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    except (ValueError, RecursionError) as error:
        raise UserError(f"--set {key}: the value cannot be read: {error}") from None
    return found["value"] if len(found) == 1 else text


def explain(kind: type[msgspec.Struct], text: str) -> str:
    """Rewrites an error of msgspec about one flat table in words that name the key."""
    detail, place = _split(text)
    key = place.lstrip(".")
    if unknown := _UNKNOWN.fullmatch(detail):
        names = [field.name for field in msgspec.structs.fields(kind)]
        return f"unknown key '{unknown[1]}'{near(unknown[1], names)}"
    if missing := _MISSING.fullmatch(detail):
        return f"key '{missing[1]}': missing"
    if choice := _CHOICE.fullmatch(detail):
        detail = unknown_choice(key, choice[1], get_args(_field(kind, (key,))))
    detail = _in_toml(detail) if detail.startswith("Expected") else detail
    return f"key '{key}': {detail}" if key else detail


def _split(text: str) -> tuple[str, str]:
    """A complaint of msgspec, and the place it names: "" for the whole, else as in `.a.b[...]`."""
    match = _PLACE.search(text)
    return (text[: match.start()], match[1]) if match else (text, "")


def _in_toml(detail: str) -> str:
    """ "Expected `x`, got `y`" with the names that TOML has for types."""
    detail = detail.replace(" | null", "")
    for name, toml_name in _TYPE_NAMES.items():
        detail = detail.replace(f"`{name}`", f"`{toml_name}`")
    return detail[0].lower() + detail[1:].replace("`", "")


def leaves(table: dict[str, Any], above: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Every value that is no table, under its keys."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, int | float):
        yield value


def _insane(number: float) -> str:
    """What is wrong with a number that would break what is reckoned with it; else nothing."""
    if isinstance(number, float) and not math.isfinite(number):
        return f"expected a finite number, got {number}"
    if number and not SMALLEST <= abs(number) <= LARGEST:
        size = f"{number:g}" if abs(number) < 1e300 else "more than 1e300"
        return f"expected 0 or a size from {SMALLEST:g} to {LARGEST:g}, got {size}"
    return ""


def _without(table: dict[str, Any], keys: Keys) -> dict[str, Any]:
    key, *rest = keys
    if not rest:
        return {k: v for k, v in table.items() if k != key}
    return table | {key: _without(table[key], tuple(rest))}


def _fields(kind: type[msgspec.Struct], keys: Keys) -> list[str]:
    for key in keys:
        kind = _field(kind, (key,))
    return [field.name for field in msgspec.structs.fields(kind)]


def _field(kind: type[msgspec.Struct], keys: Keys) -> Any:
    """The type of the field that `keys` lead to; of a table that may be absent, the table's."""
    found: Any = kind
    for key in keys:
        found = next(f.type for f in msgspec.structs.fields(found) if f.name == key)
        tables = [one for one in get_args(found) if hasattr(one, "__struct_fields__")]
        found = tables[0] if tables else found
    return found
