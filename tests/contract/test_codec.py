import random
import struct
import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tierloop.contract import messages as m
from tierloop.contract.codec import Codec, digest64
from tierloop.contract.errors import SpecError, WireError
from tierloop.contract.poses import Poses, SceneObject
from tierloop.contract.streams import (
    ALL,
    DELIVERY,
    MAX_BYTES,
    STREAMS,
    silence_ns,
    socket_cap_bytes,
)

EXAMPLES: list[m.Message] = [
    m.Hello(node="arm-0", role="device", boot=1, software="0.1.0", spec="ab"),
    m.Welcome(node="edge", boot=2, acked=7),
    m.Refused(reason="spec", final=True),
    m.Beat(seq=1, sent_ns=2),
    m.Echo(seq=1, sent_ns=2, received_ns=3, echoed_ns=4),
    m.Observation(
        device="arm-0", boot=1, seq=3, captured_ns=4, features=np.arange(5, dtype=np.float32)
    ),
    m.ActionChunk(
        device="arm-0",
        boot=1,
        seq=3,
        captured_ns=4,
        period_ns=50,
        valid_until_ns=400,
        policy_version=2,
        tier="edge",
        batch=1,
        held_ns=5,
        compute_ns=4,
        actions=np.ones((8, 3), np.float32),
    ),
    m.Segment(
        device="arm-0",
        boot=1,
        seq=0,
        body="plant",
        software="0",
        spec="ab",
        captured_ns=np.arange(2),
        features=np.zeros((2, 4), np.float32),
        applied=np.zeros((2, 3), np.float32),
        age_ns=np.zeros(2, np.int64),
        versions=np.zeros(2, np.int64),
        seam_rad=0.1,
        refused={"expired": 2},
        outcomes=(
            m.Outcome(
                number=1, success=True, reason="sorted", policy_version=1, started_ns=1, ended_ns=2
            ),
        ),
    ),
    m.Sealed(device="arm-0", boot=1, seq=0, digest=5, body=np.zeros(3, np.uint8)),
    m.Stored(device="arm-0", boot=1, below=3, also=(5, 7)),
    m.Offer(version=1, digest="ab", size=10, parents=(0,)),
    m.Fetch(digest="ab", offset=0, length=10),
    m.Part(digest="ab", offset=0, data=np.zeros(10, np.uint8)),
    m.PolicyStatus(node="edge", version=1, digest="ab", state="active"),
    m.Report(
        process="edge",
        role="edge",
        boot=1,
        at_ns=5,
        counters={"a": 1.0},
        gauges={},
        labels={},
        decisions=np.zeros((0, 16), np.int64),
        lateness_ns=np.zeros(0, np.int64),
        outcomes=(),
        events=(m.Event(at_ns=1, name="x"),),
    ),
    Poses(
        process="arm-0",
        boot=1,
        at_ns=9,
        frame_ns=np.array([5, 9]),
        joints_rad=np.zeros((2, 3), np.float32),
        tool=np.zeros((2, 2), np.float32),
        objects=(SceneObject(name="part 1", kind="disc", shape="cylinder", size_m=(0.03, 0.02)),),
        placed=np.array([[1, 0, 0.1, 0.2, 0.3, 0, 0, 0, 1]], np.float32),
    ),
]


def same(a: m.Message, b: m.Message) -> bool:
    return type(a) is type(b) and all(
        np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y
        for x, y in zip(msgspec.structs.astuple(a), msgspec.structs.astuple(b), strict=True)
    )


def test_every_message_has_an_example_and_a_stream():
    assert {type(e) for e in EXAMPLES} == set(ALL) == set(m.Message.__subclasses__())
    assert set(DELIVERY) == set(ALL)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda e: type(e).__name__)
def test_there_and_back(message):
    codec = Codec()
    data = codec.encode(message)
    assert same(codec.decode(data), message)
    assert same(codec.decode(memoryview(data)), message)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda e: type(e).__name__)
def test_bytes_that_lie_are_refused_or_another_message(message):
    """Changed, cut or added to, and summed up anew: a WireError or a well-formed message."""
    rng, codec = random.Random(7), Codec()
    data = codec.encode(message)[:-4]
    for _ in range(500):
        damaged = bytearray(data)
        at = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                damaged[at] ^= 1 << rng.randrange(8)
            case 1:
                del damaged[at:]
            case 2:
                damaged += rng.randbytes(3)
            case _:
                damaged[at:at] = rng.randbytes(4)
        try:
            decoded = codec.decode(checked(bytes(damaged)))
        except WireError:
            continue
        assert isinstance(decoded, m.Message)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda e: type(e).__name__)
def test_every_flipped_bit_is_found(message):
    """Also those that would have made a good message with another number in it."""
    codec = Codec()
    data = codec.encode(message)
    for at in range(8 * min(len(data), 512)):
        damaged = bytearray(data)
        damaged[at >> 3] ^= 1 << (at & 7)
        with pytest.raises(WireError, match="damaged"):
            codec.decode(bytes(damaged))


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty"), (b"abc", "truncated"), (b"abcd", "truncated"), (b"abcdefgh", "damaged")],
)
def test_what_is_no_message_is_refused(data, reason):
    with pytest.raises(WireError, match=reason):
        Codec().decode(data)


@given(st.binary(max_size=64), st.booleans())
def test_garbage_is_refused(data, framed):
    with pytest.raises(WireError):
        Codec().decode(checked(struct.pack("<I", len(data)) + data) if framed else data)


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=1, max_side=64)))
def test_arrays_keep_their_bits(features):
    codec = Codec()
    sent = m.Observation(device="d", boot=0, seq=0, captured_ns=0, features=features)
    got = codec.decode(codec.encode(sent))
    assert isinstance(got, m.Observation)
    assert got.features.tobytes() == features.tobytes()
    assert not got.features.flags.writeable


def checked(data: bytes) -> bytes:
    return data + struct.pack("<I", zlib.crc32(data))


def wire(header: object, *arrays: bytes) -> bytes:
    head = header if isinstance(header, bytes) else msgspec.msgpack.encode(header)
    data = struct.pack("<I", len(head)) + head
    for array in arrays:
        data += bytes(-len(data) % 8) + array
    return checked(data)


def seen(features: object, *arrays: bytes) -> bytes:
    return wire(["observation", "d", 0, 0, 0, features], *arrays)


def test_the_helper_speaks_the_wire_form():
    got = Codec().decode(seen(["<f4", [2]], b"12345678"))
    assert isinstance(got, m.Observation)
    assert got.features.tobytes() == b"12345678"


@pytest.mark.parametrize(
    "data",
    [
        seen(["<f4", [-1]]),
        seen(["<f4", [-1, -1]], b"1234"),
        seen(["<f4", [1 << 62, 1 << 62]], b"1234"),
        seen(["<f4", [2]], b"1234"),
        seen(["|O", [1]], b"12345678"),
        seen(["<i8", [1]], b"12345678"),
        seen(["<f4", [1]]),
        seen(["<f4", [1, 1, 1, 1, 1]], b"1234"),
        seen(["<f4", [1]], b"1234", b"extra"),
        seen(["<f4", [1]], b"1234x"),
        seen("no", b"1234"),
        seen({"a": 1}, b"1234"),
        seen(["<f4", ["a", 1 << 62]], b"1234"),
        seen(["<f4", [1 << 62, "a"]], b"1234"),
        seen(["<f4", [[1], 1 << 62]], b"1234"),
        seen(["<f4", [1 << 62] * 5000], b"1234"),
        seen(["<f4", ["ab" * 5000] * 4], b"1234"),
        seen(["<f4", b"\x01\x01"], b"1234"),
        seen(["<f4", "1"], b"1234"),
        seen(["<f4", {1: 1}], b"1234"),
        seen(["<f4", [True]], b"1234"),
        seen(["<f4", [None]], b"1234"),
        seen(["<f4", [1.5]], b"1234"),
        seen([["<f4"], [1]], b"1234"),
        wire(b"\x91" * 5000),
        wire(b""),
        checked(b"\xff\xff\xff\xff"),
        checked(b"\1\0\0"),
        b"",
    ],
    ids=range(29),
)
def test_lying_headers_are_refused(data):
    with pytest.raises(WireError):
        Codec().decode(data)


def test_two_fields_cannot_claim_the_same_bytes():
    a, one = ["<i8", [1]], ["<f4", [1, 2]]
    segment = ["segment", "d", 0, 0, "b", "s", "p", a, one, one, a, a, 0.0, {}, []]
    assert Codec().decode(wire(segment, *[b"12345678"] * 5))
    with pytest.raises(WireError):
        Codec().decode(wire(segment, *[b"12345678"] * 4))


def test_oversize_is_refused_on_both_ends():
    big = m.Observation(
        device="d", boot=0, seq=0, captured_ns=0, features=np.zeros(20_000, np.float32)
    )
    with pytest.raises(SpecError, match="more than"):
        Codec().encode(big)
    with pytest.raises(WireError, match="oversize"):
        Codec().decode(seen(["<f4", [20_000]], bytes(80_000)))


def test_foreign_arrays_do_not_travel():
    odd = m.Part(digest="a", offset=0, data=np.zeros(2, np.uint8))
    with pytest.raises(SpecError):
        msgspec.structs.replace(odd, data=np.array([object()]))
    with pytest.raises(SpecError, match="cannot travel"):
        Codec()._put(np.zeros(2, np.float64))


def test_digests_differ_and_fit_63_bits():
    assert digest64(b"a") != digest64(b"b")
    assert 0 <= digest64(b"a") < 1 << 63


def test_illegal_messages_cannot_be_made():
    chunk = EXAMPLES[6]
    with pytest.raises(SpecError, match=r"action.actions: expected float32"):
        msgspec.structs.replace(chunk, actions=np.zeros(3, np.float32))
    with pytest.raises(SpecError, match="validity"):
        msgspec.structs.replace(chunk, valid_until_ns=0)
    with pytest.raises(AttributeError):
        chunk.seq = 9
    with pytest.raises(TypeError):
        m.Beat(1, 2)
    with pytest.raises(SpecError, match=r"segment.features: expected float32\[2, '\*'\]"):
        msgspec.structs.replace(EXAMPLES[7], features=np.zeros((3, 4), np.float32))


def test_the_table_bounds_everything():
    assert all(s.max_bytes <= socket_cap_bytes() for s in STREAMS)
    assert all(s.depth >= 1 for s in STREAMS)
    assert silence_ns(m.Beat) == 1_000_000_000
    with pytest.raises(ValueError, match="no rate"):
        silence_ns(m.Offer)
    assert MAX_BYTES[m.Beat] < 2048


def test_a_peers_own_names_are_short():
    with pytest.raises(SpecError, match="128"):
        m.Hello(node="x" * 129, role="device", boot=1, software="0", spec="s")


@pytest.mark.parametrize("field", ["policy_version", "batch", "held_ns", "compute_ns"])
def test_numbers_of_an_answer_fit_the_ledger(field):
    chunk = next(e for e in EXAMPLES if isinstance(e, m.ActionChunk))
    with pytest.raises(SpecError, match="63 bits"):
        m.ActionChunk(**{**msgspec.structs.asdict(chunk), field: 2**63})
