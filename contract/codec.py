"""The wire form: one run of bytes, a MessagePack header, the arrays it names, and a checksum.

    uint32 length of the header | header | pad | array | pad | array ... | uint32 CRC-32

Each array is padded to a multiple of 8 bytes from the start and described in the header by its
dtype and shape, in the same order. No pickle: a header can only become one of the messages of
contract/streams.py, and an array only bytes of an allowed dtype. The header is checked by type;
the arrays by dtype, shape and size; the whole by the stream's size cap and its checksum, which
finds every run of up to 32 wrong bits.
"""

import hashlib
import struct
from functools import reduce
from operator import or_
from typing import Any
from zlib import crc32

import msgspec
import numpy as np

from tierloop.contract.errors import SpecError, WireError
from tierloop.contract.messages import Message
from tierloop.contract.streams import ALL, MAX_BYTES

_DTYPES = {dtype: np.dtype(dtype) for dtype in ("<f4", "<i8", "|u1")}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_pack, _unpack = struct.Struct("<I").pack, struct.Struct("<I").unpack_from
_HEAD_BYTES = _SUM_BYTES = 4
_RESIDUE = 0x2144DF1C
"""The CRC-32 of any bytes with their own CRC-32 behind them, lowest byte first."""
_ALIGN = 8
_PADS = tuple(bytes(n) for n in range(_ALIGN))
_DIMS_MAX = 4


class Codec:
    """Encodes and decodes messages. One a thread: it holds the message at hand."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []
        self._data: bytes | memoryview = b""
        self._at = self._end = 0
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._put)
        union = reduce(or_, ALL)
        self._decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(
            union, dec_hook=self._take
        )

    def encode(self, message: Message) -> bytes:
        """The bytes of a message. Raises SpecError past the stream's size cap."""
        arrays: list[np.ndarray] = []
        self._arrays = arrays
        header = self._encoder.encode(message)
        data = _pack(len(header)) + header
        if arrays:
            parts, size = [data], len(data)
            for array in arrays:
                pad = -size % _ALIGN
                parts += _PADS[pad], array.tobytes()
                size += pad + array.nbytes
            data = b"".join(parts)
        if len(data) + _SUM_BYTES > MAX_BYTES[type(message)]:
            raise SpecError(f"{type(message).__name__}: more than {MAX_BYTES[type(message)]} bytes")
        return data + _pack(crc32(data))

    def decode(self, data: bytes | memoryview) -> Message:
        """The message in `data`; its arrays are read-only views of it.

        Raises WireError, with reason "damaged" if the bytes are not those that were encoded.
        """
        end = len(data) - _SUM_BYTES
        if end < _HEAD_BYTES:
            raise WireError("truncated" if data else "empty")
        if crc32(data) != _RESIDUE:
            raise WireError("damaged")
        header_end = _HEAD_BYTES + _unpack(data)[0]
        if header_end > end:
            raise WireError("truncated")
        self._data, self._at, self._end = data, header_end, end
        try:
            message = self._decoder.decode(data[_HEAD_BYTES:header_end])
        except WireError:
            raise
        except (msgspec.MsgspecError, SpecError, UnicodeDecodeError, ValueError) as error:
            raise WireError("malformed", str(error)) from None
        except RecursionError:
            raise WireError("malformed", "nested too deep") from None
        if self._at != end:
            raise WireError("malformed", "bytes that no field claims")
        if len(data) > MAX_BYTES[type(message)]:
            raise WireError("oversize", type(message).__name__)
        return message

    def _put(self, value: Any) -> tuple[str, tuple[int, ...]]:
        name = _NAMES.get(value.dtype) if isinstance(value, np.ndarray) else None
        if name is None:
            raise SpecError(f"cannot travel: {getattr(value, 'dtype', type(value))}")
        self._arrays.append(value)
        return name, value.shape

    def _take(self, _type: type, value: Any) -> np.ndarray:
        start = self._at + -self._at % _ALIGN
        try:
            name, shape = value
            dtype, dims, count = _DTYPES[name], len(shape), 1
        except (TypeError, ValueError, KeyError):
            raise WireError("malformed", "array header") from None
        if dims > _DIMS_MAX or type(shape) is not list:
            raise WireError("malformed", "shape of an array")
        for size in shape:
            if type(size) is not int or size < 0:  # a text times a number is a longer text
                raise WireError("malformed", "a size of an array that is none")
            count *= size
        end = start + count * dtype.itemsize
        if end > self._end:
            raise WireError("truncated", f"{name}{shape} in {self._end - start} bytes")
        self._at = end
        array = np.frombuffer(self._data, dtype, count, start)
        return array if dims == 1 else array.reshape(shape)


def digest64(data: bytes | memoryview) -> int:
    """The first 8 bytes of SHA-256 as an integer below 2^63 (fits SQLite and MessagePack)."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") >> 1
