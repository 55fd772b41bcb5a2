"""The trace: one digest over everything that was said, decided and done."""

import hashlib
from struct import Struct

from tierloop.contract.messages import Report
from tierloop.contract.specs import Vector

_HEAD = Struct("<cIq")
_FLUSH_BYTES = 1 << 16


class Trace:
    """SHA-256 over every message (when, on which way, its bytes), applied action and decision.

    Decisions are the rows of the ledger, as the devices report them. All times are virtual, so
    that nothing in it depends on the host.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._buffer = bytearray()

    def sent(self, way: int, now_ns: int, data: bytes) -> None:
        """A message was put on a link."""
        self._buffer += _HEAD.pack(b"s", way, now_ns)
        self._buffer += data

    def came(self, way: int, now_ns: int) -> None:
        """The next message on a link arrived."""
        self._buffer += _HEAD.pack(b"c", way, now_ns)

    def applied(self, device: int, now_ns: int, setpoint: Vector) -> None:
        """A body was handed a setpoint float64[A]."""
        buffer = self._buffer
        buffer += _HEAD.pack(b"a", device, now_ns)
        buffer += setpoint.tobytes()
        if len(buffer) > _FLUSH_BYTES:
            self._flush()

    def decided(self, report: Report) -> None:
        """A device told what became of its decisions."""
        self._buffer += report.process.encode()
        self._buffer += report.decisions.tobytes()

    def hexdigest(self) -> str:
        self._flush()
        return self._hash.copy().hexdigest()

    def _flush(self) -> None:
        self._hash.update(self._buffer)
        self._buffer.clear()
