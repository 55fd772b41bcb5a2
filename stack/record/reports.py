"""The reports of a run on disk: one file for each process, appended as they come.

A file is a run of reports, each behind its length (uint32, little-endian), as the codec packs
them: with a checksum each. A report is in the file as soon as it was heard. Behind a damaged one
the next whole one is looked for: every report begins alike. Poses lie beside them in files of their
own (record/poses.py), written and read alike.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from tierloop.contract.codec import Codec
from tierloop.contract.errors import SpecError, WireError
from tierloop.contract.messages import Report
from tierloop.contract.poses import Poses
from tierloop.contract.streams import MAX_BYTES, STREAM_NAME
from tierloop.stack.record.damage import Damage

SUFFIX = ".reports"
LACKS = "lacks"
"""Names the label under which the roof says what the disk did not take."""
LACKS_MAX = 8
"""Stretches told one by one, so that a label holds them; later ones are added to the last."""
WHY_MAX = 60
PIECE_BYTES = 1 << 20
"""Read at a time."""

_LENGTH = struct.Struct("<I")
_MARK_AT = 9
"""So far behind the beginning of a message its name stands: behind two lengths and a byte."""

T = TypeVar("T", Report, Poses)


class PartKind(NamedTuple, Generic[T]):
    """What a file holds; how its name ends; `label`: under which the roof says what it lacks.

    `event`: the first word of the events that tell so; `name`: what is then missing, in words.
    """

    message: type[T]
    suffix: str
    label: str
    event: str
    name: str

    @property
    def mark(self) -> bytes:
        """The name of the message, as it stands in each."""
        name = STREAM_NAME[self.message].encode()
        return bytes([0xA0 + len(name)]) + name


REPORTS = PartKind(Report, SUFFIX, LACKS, "record", "reports")


class Lack(msgspec.Struct, array_like=True, kw_only=True):
    """A stretch of the run whose reports the disk did not take, and why."""

    since_ns: int
    until_ns: int
    reports: int
    why: str


class PartFiles:
    """Writes parts of one kind. Unbuffered: what was appended outlives the process.

    `lacks`: what the disk did not take; `full`: why, as long as a process's part lacks what it told
    last. Each append tries again; but none while `before`, which comes first, is full.
    """

    def __init__(
        self,
        folder: Path,
        kind: PartKind[Any] = REPORTS,
        before: "PartFiles | None" = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._kind, self._before = folder, kind, before
        self._codec = Codec()
        self._torn: dict[Path, int] = {}
        self.lacks: list[Lack] = []
        self.full = ""
        self._missed: set[str] = set()
        self._news: list[tuple[str, str]] = []

    def append(self, report: Report | Poses) -> None:
        """Adds a report, whole or not at all; where the disk does not take it, `lacks` says so."""
        if self._before is not None and self._before.full:
            self._lack(report, self._before.lacks[-1].why)
            return
        try:
            path = self._folder / f"{report.process}{self._kind.suffix}"
            self._write(path, self._codec.encode(report))
        except OSError as error:
            self._lack(report, error.strerror or str(error))
        except SpecError as error:
            self._lack(report, str(error))
        else:
            self._missed.discard(report.process)
            if self.full and not self._missed:
                self.full = ""
                detail = f"{self.lacks[-1].reports} {self._kind.name} are missing"
                self._news.append((f"{self._kind.event}_resumed", detail))

    def news(self) -> list[tuple[str, str]]:
        """Events since the last call, as name and detail: the disk takes no more, or does again."""
        news, self._news = self._news, []
        return news

    def _write(self, path: Path, body: bytes) -> None:
        with path.open("ab", buffering=0) as file:
            if path in self._torn:
                file.truncate(self._torn[path])
                del self._torn[path]
            whole, frame = file.seek(0, os.SEEK_END), memoryview(_LENGTH.pack(len(body)) + body)
            try:
                while frame:
                    frame = frame[file.write(frame) :]
            except OSError:
                self._torn[path] = whole
                with suppress(OSError):
                    file.truncate(whole)
                    del self._torn[path]
                raise

    def labels(self) -> dict[str, str]:
        """What is lacking, as a label of the roof's report; `lacks_of` reads it."""
        label = self._kind.label
        return {label: msgspec.json.encode(self.lacks).decode()} if self.lacks else {}

    def _lack(self, report: Report | Poses, why: str) -> None:
        why = why[:WHY_MAX]
        self._missed.add(report.process)
        if not self.full:
            self.full = f"{self._folder}: {why}"
            detail = f"{why}; the run continues, its {self._kind.name} are not kept"
            self._news.append((f"{self._kind.event}_lacks", detail))
            if len(self.lacks) < LACKS_MAX:
                at_ns = report.at_ns
                self.lacks.append(Lack(since_ns=at_ns, until_ns=at_ns, reports=0, why=why))
        last = self.lacks[-1]
        last.until_ns, last.reports = max(last.until_ns, report.at_ns), last.reports + 1


def lacks_of(label: str | None) -> list[Lack]:
    """What `PartFiles.labels` said. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(label, type=list[Lack]) if label else []


def read(folder: Path) -> Iterator[Report]:
    """Every whole report in the parts of `folder`, process by process, in order. Raises OSError."""
    return (found for found in scan(folder) if isinstance(found, Report))


def scan(folder: Path) -> Iterator[Report | Damage]:
    """Every whole report in the parts of `folder`, process by process, in order; and what is lost.

    Raises OSError.
    """
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        yield from scan_part(path, REPORTS)


def scan_part(path: Path, kind: PartKind[T]) -> Iterator[T | Damage]:
    """Every whole message in one part, in order, and what is lost. Raises OSError."""
    name = f"{path.parent.name}/{path.name}"
    codec, last_ns = Codec(), None
    with path.open("rb", buffering=0) as file:
        window = _Window(file, MAX_BYTES[kind.message])
        while window.left():
            found = _message(codec, kind, window.data, window.at)
            if isinstance(found, str):
                lost, why = window.place, found
                while isinstance(found, str) and window.left():
                    window.at = _next(kind.mark, window.data, window.at, window.ended)
                    window.left()
                    found = _message(codec, kind, window.data, window.at)
                until_ns = found.at_ns if isinstance(found, kind.message) else None
                yield Damage(name, why, lost, window.place - lost, last_ns, until_ns)
            if isinstance(found, kind.message):
                yield found
                last_ns = found.at_ns
                window.at += _LENGTH.size + _LENGTH.unpack_from(window.data, window.at)[0]


class _Window:
    """A file read from its beginning to its end, a piece at a time; `at` is a place in `data`."""

    def __init__(self, file: FileIO, size_max: int) -> None:
        self._file, self._size_max = file, size_max
        self.data, self.at, self.ended = b"", 0, False
        self._begin = 0

    @property
    def place(self) -> int:
        """Bytes before `at` in the file."""
        return self._begin + self.at

    def left(self) -> bool:
        """Whether bytes are left; a whole message from `at` on is in `data` if the file has it."""
        while not self.ended and len(self.data) - self.at < _LENGTH.size + self._size_max:
            more = self._file.read(PIECE_BYTES)
            self.ended = not more
            self.data = self.data[self.at :] + more
            self._begin, self.at = self.place, 0
        return self.at < len(self.data)


def _message(codec: Codec, kind: PartKind[T], data: bytes, at: int) -> T | str:
    """The message whose length stands at `at`, or why there is none."""
    start, most = at + _LENGTH.size, MAX_BYTES[kind.message]
    length = _LENGTH.unpack_from(data, at)[0] if start <= len(data) else most + 1
    if length > most or start + length > len(data):
        return "corrupted or incomplete"
    try:
        found = codec.decode(data[start : start + length])  # a copy: its arrays keep no window
    except WireError as error:
        return (
            "corrupted"
            if error.reason == "damaged"
            else f"{error}; another version may have written it"
        )
    return found if isinstance(found, kind.message) else "of another kind"


def _next(mark: bytes, data: bytes, at: int, ended: bool) -> int:
    """Where behind `at` the next message may begin; if none does the end, or where to look on."""
    found = data.find(mark, at + 1 + _MARK_AT)
    if found >= 0:
        return found - _MARK_AT
    return len(data) if ended else max(at + 1, len(data) - _MARK_AT - len(mark))
