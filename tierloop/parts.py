"""The parts of a record: what every process reported, appended as it came, one file a process.

A file is a run of reports, each behind its length (uint32, little-endian), as the codec packs
them. A report is in the file as soon as it was heard; a torn last one is not read.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from contract.codec import Codec
from contract.errors import WireError
from contract.messages import Report

SUFFIX = ".reports"
_LENGTH = struct.Struct("<I")


class Parts:
    """Writes parts. Unbuffered: what was appended outlives the process.

    `full`: why nothing more can be written, once that is so; what comes then is not kept.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._codec = Codec()
        self.full = ""

    def append(self, report: Report) -> None:
        if self.full:
            return
        body = self._codec.encode(report)
        try:
            with (self._folder / f"{report.process}{SUFFIX}").open("ab", buffering=0) as file:
                file.write(_LENGTH.pack(len(body)) + body)
        except OSError as error:
            self.full = f"{self._folder}: {error.strerror}"


def read(folder: Path) -> Iterator[Report]:
    """Every whole report in the parts of `folder`, process by process, in order."""
    codec = Codec()
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        data, at = path.read_bytes(), 0
        while at + _LENGTH.size <= len(data):
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            try:
                report = codec.decode(data[at : at + length])
            except WireError:
                break
            at += length
            if isinstance(report, Report):
                yield report
