"""Frames: a message's bytes and a checksum, so that what was damaged on the way is refused."""

import struct
from zlib import crc32

from contract.codec import Codec
from contract.errors import WireError
from contract.messages import Message

_CHECK = struct.Struct("<I")
CHECK_BYTES = _CHECK.size
"""What a frame has beyond its message: CRC-32, which finds every run of up to 32 wrong bits."""


class Framing(Codec):
    """A codec for the way between hosts."""

    def encode(self, message: Message) -> bytes:
        data = super().encode(message)
        return data + _CHECK.pack(crc32(data))

    def decode(self, data: bytes | memoryview) -> Message:
        """The message in a frame. Raises WireError, with reason "damaged" if it came altered."""
        end = len(data) - CHECK_BYTES
        if end < 0:
            raise WireError("truncated" if data else "empty")
        whole = memoryview(data)
        if crc32(whole[:end]) != _CHECK.unpack_from(whole, end)[0]:
            raise WireError("damaged")
        return super().decode(whole[:end])
