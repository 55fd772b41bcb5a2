"""Frames: one flipped bit, anywhere, and the frame is refused."""

import numpy as np
import pytest

from contract.codec import Codec
from contract.errors import WireError
from contract.messages import Observation
from link.framing import CHECK_BYTES, Framing

SENT = Observation(device="arm", boot=3, seq=4, captured_ns=5, features=np.ones(7, np.float32))


def test_what_was_sent_comes_back():
    framing = Framing()
    frame = framing.encode(SENT)
    for form in (frame, memoryview(frame)):
        got = framing.decode(form)
        assert np.array_equal(got.features, SENT.features)
        assert (got.device, got.seq) == ("arm", 4)
        assert not got.features.flags.writeable


def test_every_flipped_bit_is_found():
    """Also those that would have made a good message with another number in it."""
    framing = Framing()
    frame = framing.encode(SENT)
    for at in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[at >> 3] ^= 1 << (at & 7)
        with pytest.raises(WireError, match="damaged"):
            framing.decode(bytes(damaged))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [(b"", "empty"), (b"abc", "truncated"), (b"abcd", "damaged"), (bytes(8), "damaged")],
)
def test_what_is_no_frame_is_refused(frame, reason):
    with pytest.raises(WireError, match=reason):
        Framing().decode(frame)


def test_a_frame_is_so_much_longer():
    assert len(Framing().encode(SENT)) == len(Codec().encode(SENT)) + CHECK_BYTES
