"""Finds the line of each key in a TOML text, in one pass, bounded in depth, linear in time.

`tomllib` says what a text means and nothing of where. This reader goes over the same text for the
lines alone, and stops at what it does not understand: the complaint about that is tomllib's.
"""

import contextlib
import re
import tomllib
from itertools import count
from pathlib import Path

from tierloop.contract.errors import UserError
from tierloop.contract.wording import shown

Keys = tuple[str, ...]

DEPTH_MAX = 16
"""No file of this project nests deeper; what does costs its readers time that grows faster."""
WIDTH_MAX = 64
"""No key of this project is longer."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED = re.compile(r"\"(?:[^\"\\\n]|\\.)*+\"|'[^'\n]*+'")
_TEXT = re.compile(
    r"\"\"\"(?:[^\"\\]|\\.|\"{1,2}(?!\"))*+\"{3,5}|'''(?:[^']|'{1,2}(?!'))*+'{3,5}"
    r"|(?!\"\"\"|''')(?:\"(?:[^\"\\\n]|\\.)*+\"|'[^'\n]*+')",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^\s\"'\[\]{},#][^\[\]{},#\n]*+")
_SPACE = re.compile(r"[ \t]*+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*+)*+")


def is_key(part: str) -> bool:
    """Whether a part of a key is one that this project could know."""
    return len(part) <= WIDTH_MAX and _BARE.fullmatch(part) is not None


def places(path: Path, text: str) -> dict[Keys, int]:
    """The line of each key, table and entry of a list, whose number stands where its key would.

    Raises UserError, naming `path` and the line, for a key that nothing here could know, and for
    what is nested deeper than DEPTH_MAX.
    """
    reader = _Reader(path, text)
    with contextlib.suppress(_Lost):
        reader.read()
    return reader.found


class _Lost(Exception):
    """The text is no TOML from here on."""


class _Reader:
    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text = path, text
        self._at, self._line = 0, 1
        self._entries: dict[Keys, int] = {}
        self.found: dict[Keys, int] = {}

    def read(self) -> None:
        table: Keys = ()
        while self._take(_BLANK) or self._at < len(self._text):
            if self._at == len(self._text):
                return
            line = self._line
            if self._is("[["):
                table = self._entry(self._name(), line)
                self._expect("]]")
            elif self._is("["):
                table = self._under(self._name())
                self._note((), table, line)
                self._expect("]")
            else:
                self._statement(table)

    def _entry(self, name: Keys, line: int) -> Keys:
        """The keys of one more [[table]]."""
        keys = (*self._under(name[:-1]), name[-1])
        number = self._entries.get(keys, 0)
        self._entries[keys] = number + 1
        self._note((), keys, self.found.get(keys, line))
        self._note(keys, (str(number),), line)
        return (*keys, str(number))

    def _under(self, name: Keys) -> Keys:
        """The keys of a table: what is in a list is in its last entry."""
        keys: Keys = ()
        for part in name:
            keys = (*keys, part)
            if keys in self._entries:
                keys = (*keys, str(self._entries[keys] - 1))
        return keys

    def _statement(self, above: Keys) -> None:
        line = self._line
        name = self._name()
        self._expect("=")
        self._note(above, name, line)
        self._value((*above, *name))

    def _value(self, keys: Keys) -> None:
        self._take(_SPACE)
        if self._is("["):
            self._list(keys)
        elif self._is("{"):
            self._table(keys)
        elif not self._take(_TEXT) and not self._take(_PLAIN):
            raise _Lost

    def _list(self, keys: Keys) -> None:
        for number in count():
            self._take(_BLANK)
            if self._is("]"):
                return
            self._note(keys, (str(number),), self._line)
            self._value((*keys, str(number)))
            self._take(_BLANK)
            if not self._is(","):
                self._expect("]")
                return

    def _table(self, keys: Keys) -> None:
        while True:
            self._take(_BLANK)
            if self._is("}"):
                return
            self._statement(keys)
            self._take(_BLANK)
            if not self._is(","):
                self._expect("}")
                return

    def _name(self) -> Keys:
        parts = [self._part()]
        while self._is("."):
            parts.append(self._part())
            self._bound(len(parts))
        return tuple(parts)

    def _part(self) -> str:
        self._take(_SPACE)
        part = self._take(_BARE)
        if not part:
            if not (quoted := self._take(_QUOTED)):
                raise _Lost
            try:
                (part,) = tomllib.loads(f"{quoted} = 0")
            except tomllib.TOMLDecodeError:
                raise _Lost from None
        if not is_key(part):
            raise UserError(f"{self._path}:{self._line}: unknown key {shown(part)}")
        self._take(_SPACE)
        return part

    def _note(self, above: Keys, name: Keys, line: int) -> None:
        self._bound(len(above) + len(name))
        for n in range(1, len(name)):
            self.found.setdefault((*above, *name[:n]), line)
        self.found[*above, *name] = line

    def _bound(self, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise UserError(f"{self._path}:{self._line}: nested more than {DEPTH_MAX} levels deep")

    def _is(self, mark: str) -> bool:
        if found := self._text.startswith(mark, self._at):
            self._at += len(mark)
        return found

    def _expect(self, mark: str) -> None:
        if not self._is(mark):
            raise _Lost

    def _take(self, pattern: re.Pattern[str]) -> str:
        """What of the pattern stands here, read."""
        match = pattern.match(self._text, self._at)
        found = match[0] if match else ""
        self._at += len(found)
        self._line += found.count("\n")
        return found
