"""The wire form: one MessagePack header, then one raw frame an array.

No pickle: a header can only become one of the messages of contract/messages.py, and an array
only bytes of an allowed dtype whose count fits its declared shape. The header is checked by
type; the arrays by dtype, shape and size; the whole by the stream's size cap.
"""

import hashlib
import struct
from collections.abc import Sequence
from functools import reduce
from math import prod
from operator import or_
from typing import Any

import msgspec
import numpy as np

from contract.errors import SpecError, WireError
from contract.messages import ALL, Message
from contract.streams import MAX_BYTES

Frame = bytes | memoryview

_DTYPES = {dtype: np.dtype(dtype) for dtype in ("<f4", "<i8", "|u1")}
_LENGTH = struct.Struct("<I")


class Codec:
    """Encodes and decodes messages. One a thread: it keeps the frames of the message at hand."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._put)
        union = reduce(or_, ALL)
        self._decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(
            union, dec_hook=self._take
        )

    def encode(self, message: Message) -> list[Frame]:
        """The frames of a message, header first. Raises SpecError past the stream's size cap."""
        frames: list[Frame] = [b""]
        self._frames = frames
        frames[0] = self._encoder.encode(message)
        cap = MAX_BYTES[type(message)]
        if sum(map(len, frames)) > cap:
            raise SpecError(f"{type(message).__name__}: more than {cap} bytes")
        return frames

    def decode(self, frames: Sequence[Frame]) -> Message:
        """The message in `frames`; its arrays are read-only views. Raises WireError."""
        if not frames:
            raise WireError("empty")
        self._frames = list(frames)
        try:
            message = self._decoder.decode(frames[0])
        except WireError:
            raise
        except (msgspec.MsgspecError, SpecError, UnicodeDecodeError, ValueError) as error:
            raise WireError("malformed", str(error)) from None
        except RecursionError:
            raise WireError("malformed", "nested too deep") from None
        if any(frame is not _USED for frame in self._frames[1:]):
            raise WireError("malformed", "frames that no field claims")
        if sum(map(len, frames)) > MAX_BYTES[type(message)]:
            raise WireError("oversize", type(message).__name__)
        return message

    def _put(self, value: Any) -> list[Any]:
        if not isinstance(value, np.ndarray) or value.dtype.str not in _DTYPES:
            raise SpecError(f"cannot travel: {getattr(value, 'dtype', type(value))}")
        self._frames.append(np.ascontiguousarray(value).data.cast("B") if value.size else b"")
        return [len(self._frames) - 1, value.dtype.str, value.shape]

    def _take(self, _type: type, value: Any) -> np.ndarray:
        try:
            index, dtype, shape = value
            frame = self._frames[index]
            size = prod(shape) * _DTYPES[dtype].itemsize
            sane = index > 0 and frame is not _USED and all(n >= 0 for n in shape)
        except (TypeError, ValueError, KeyError, IndexError, OverflowError):
            raise WireError("malformed", "array header") from None
        if not sane or len(shape) > 4 or size != len(frame):
            raise WireError("malformed", f"{dtype}{shape} in {len(frame)} bytes")
        self._frames[index] = _USED
        return np.frombuffer(frame, _DTYPES[dtype]).reshape(shape)


_USED: Frame = b"used"


def pack(frames: Sequence[Frame]) -> bytes:
    """Frames as one run of bytes, each behind its length (uint32, little-endian)."""
    return b"".join(part for f in frames for part in (_LENGTH.pack(len(f)), bytes(f)))


def unpack(data: Frame) -> list[memoryview]:
    """The frames of `pack`, without a copy. Raises WireError."""
    view, frames, at = memoryview(data), [], 0
    while at < len(view):
        if at + 4 > len(view):
            raise WireError("truncated")
        (length,) = _LENGTH.unpack_from(view, at)
        if at + 4 + length > len(view):
            raise WireError("truncated")
        frames.append(view[at + 4 : at + 4 + length])
        at += 4 + length
    return frames


def digest64(data: Frame) -> int:
    """The first 8 bytes of SHA-256 as an integer below 2^63 (fits SQLite and MessagePack)."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") >> 1
