import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierloop.contract.messages import Offer, Part
from tierloop.contract.streams import MAX_BYTES
from tierloop.edge.download import PART_BYTES, WINDOW, Download
from tierloop.policy.artefact import BLOB_BYTES_MAX, ArtefactError, digest


def offer_of(data: bytes) -> Offer:
    return Offer(version=1, digest=digest(data), size=len(data), parents=())


def part(offer: Offer, data: bytes, offset: int, length: int) -> Part:
    chunk = np.frombuffer(data[offset : offset + length], np.uint8)
    return Part(digest=offer.digest, offset=offset, data=chunk)


@given(st.integers(1, 12 * PART_BYTES), st.integers(0, 2**32), st.floats(0, 0.6))
def test_the_blob_arrives_whole_whatever_is_lost_doubled_or_reordered(size, seed, loss):
    rng = random.Random(seed)
    data = rng.randbytes(size)
    offer = offer_of(data)
    download = Download(offer)
    while not download.complete:
        asked = download.fetches()
        assert len(asked) <= WINDOW
        rng.shuffle(asked)
        for fetch in asked:
            assert fetch.length <= PART_BYTES < MAX_BYTES[Part] - 1024
            if rng.random() < loss:
                continue
            piece = part(offer, data, fetch.offset, fetch.length)
            assert download.take(piece)
            assert not download.take(piece), "the same part twice"
        download.resume()
    assert download.blob() == data
    assert download.fetches() == []


def test_only_a_window_is_asked_for_and_never_twice():
    data = bytes(20 * PART_BYTES)
    download = Download(offer_of(data))
    first = download.fetches()
    assert len(first) == WINDOW
    assert download.fetches() == []
    assert download.take(part(download.offer, data, 0, PART_BYTES))
    assert [f.offset for f in download.fetches()] == [WINDOW * PART_BYTES]


def test_parts_that_were_not_asked_for_are_refused():
    data = bytes(PART_BYTES + 10)
    offer = offer_of(data)
    download = Download(offer)
    download.fetches()
    assert not download.take(part(offer, data, 1, 10))
    assert not download.take(part(offer, data, 0, 10))
    assert not download.take(part(offer, data, 2 * PART_BYTES, 10))
    assert not download.take(part(offer_of(b"other"), data, 0, PART_BYTES))
    assert not download.complete


def test_wrong_bytes_do_not_pass_for_the_offer():
    data = b"right"
    offer = offer_of(data)
    download = Download(offer)
    download.fetches()
    assert download.take(part(offer, b"wrong", 0, 5))
    with pytest.raises(ArtefactError, match="hash"):
        download.blob()


@pytest.mark.parametrize(("size", "reason"), [(BLOB_BYTES_MAX + 1, "oversize"), (0, "empty")])
def test_an_offer_of_absurd_size_reserves_nothing(size, reason):
    with pytest.raises(ArtefactError) as caught:
        Download(Offer(version=1, digest="d", size=size, parents=()))
    assert caught.value.reason == reason
