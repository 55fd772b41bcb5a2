"""Hostile frames, seeded: bytes that are no message, and messages that lie in every field.

A lie is built on the wire, past the checks of contract/messages.py: most of its fields are
plausible, one or two are not, and its checksum is right.
"""

import random
import struct
import time
from collections.abc import Iterator
from typing import Any, get_type_hints
from zlib import crc32

import msgspec
import numpy as np

from tierloop.contract import messages as m
from tierloop.contract.codec import digest64
from tierloop.contract.ledger import LEDGER
from tierloop.contract.specs import PolicySpec
from tierloop.contract.streams import ALL

_U32 = struct.Struct("<I")

INTS = (
    -(2**63), -(2**31), -2, -1, 0, 1, 2, 255, 2**31, 2**32, 2**53, 2**62, 2**63 - 2, 2**63 - 1,
    2**63, 2**64 - 1,
)  # fmt: skip
FLOATS = (float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, -1e308, 1.7976931348623157e308)
TEXTS = (
    "", " ", "\0", "\n\x1b[2J", "a" * 128, "ä" * 129, "x" * 900, "y" * 3900, "../../etc/passwd",
    "\u202e\u0000", "edge", "cloud", "device", "roof", "NaN", "💥" * 40,
)  # fmt: skip
WRONG = (None, True, [], {}, b"\xff" * 40, 1.5, [[[[[]]]]], ["<f4", [1]])
"""Values of another type than the field's."""
SHAPES = ((0,), (1,), (8,), (0, 0), (1, 4), (10, 4), (8, 3), (2**31, 2**31), (-1,), (-1, -1),
          (2**62,), (0, 2**62), (1, 1, 1, 1, 1), (), (3, 0, 2**40), (2**63,))  # fmt: skip
DTYPES = ("<f4", "<i8", "|u1", "<f8", "|O", "<U8", "", "x" * 100)
SIZES = {"<f4": 4, "<i8": 8, "|u1": 1}

Array = tuple[str, tuple[int, ...], bytes]


def wire(tag: str, values: list[Any], arrays: list[Array]) -> bytes:
    """The frame of a header and arrays, whatever they hold, with its checksum."""
    header = msgspec.msgpack.encode([tag, *values])
    data = _U32.pack(len(header)) + header
    for _, _, body in arrays:
        data += bytes(-len(data) % 8) + body
    return data + _U32.pack(crc32(data))


def resealed(frame: bytes, rng: random.Random) -> bytes:
    """The frame with some bits flipped and a checksum that is right again."""
    data = bytearray(frame[:-4])
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(min(len(data), 400)) if len(data) else 0
        data[at : at + 1] = bytes([data[at] ^ 1 << rng.randrange(8)])
    return bytes(data) + _U32.pack(crc32(data))


class Frames:
    """What one attacker says. `name` and `boot` are its own, `names` those of the living;
    `asked` the number it was last asked about, `true` what it says of a field unless it lies there.
    """

    def __init__(self, seed: int, names: tuple[str, ...], spec: PolicySpec) -> None:
        self.rng = random.Random(seed)
        self.spec = spec
        self.names = names
        self.name, self.boot, self.asked = "evil", 1, 0
        self.true: dict[str, Any] = {}
        self._hints = {kind: get_type_hints(kind) for kind in ALL}
        self._tags = {kind: str(kind.__struct_config__.tag) for kind in ALL}

    def raw(self) -> bytes:
        """Bytes that are no message."""
        rng = self.rng
        kind = rng.randrange(9)
        if kind == 0:
            return rng.randbytes(rng.randrange(600))
        if kind == 1:
            return self.lie()[: rng.randrange(60)]
        if kind == 2:
            return _U32.pack(rng.choice((2**32 - 1, 2**31, 0, 5))) + rng.randbytes(40)
        if kind == 3:
            return _sealed(b"\x91" * rng.randrange(20, 50_000 if rng.random() < 0.02 else 900))
        if kind == 4:
            return _sealed(
                rng.choice(
                    (
                        b"\xdd\xff\xff\xff\xff",
                        b"\xdf\xff\xff\xff\xff",
                        b"\xc6\xff\xff\xff\xff",
                        b"\xdb\xff\xff\xff\xf0",
                    )
                )
            )
        if kind == 5:
            frame = bytearray(self.lie())
            frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
            return bytes(frame)
        if kind == 6:
            return _sealed(
                msgspec.msgpack.encode(
                    [rng.choice(("nobody", "", 7, "hello")), *[0] * rng.randrange(30)]
                )
            )
        if kind == 7:
            return b""
        return rng.randbytes(
            rng.choice((1, 4, 7, 8, 9, 65_536, 262_144)) if rng.random() < 0.05 else 8
        )

    def lie(self, kind: type[m.Message] | None = None) -> bytes:
        """A message with one or two fields that no honest peer would send."""
        kind = kind or self.rng.choice(ALL)
        fields = list(kind.__struct_fields__)
        return self._build(
            kind, {self.rng.choice(fields) for _ in range(self.rng.choice((0, 1, 1, 2)))}
        )

    def every(self) -> Iterator[bytes]:
        """Every field of every message at both ends and beyond, the others plausible."""
        for kind in ALL:
            for field in kind.__struct_fields__:
                for value in self._ends(self._hints[kind][field]):
                    yield self._build(kind, {field}, value)

    def ends(self, kind: type[m.Message], field: str) -> tuple[Any, ...]:
        """What a field may be bent to."""
        return self._ends(self._hints[kind][field])

    def bent(self, kind: type[m.Message], field: str, value: Any) -> bytes:
        """A message that lies in this one field."""
        return self._build(kind, {field}, value)

    def hello(self, role: str) -> bytes:
        """The Hello of this name, as it should be."""
        return wire(
            "hello", [self.name, role, self.boot, "tierloop", self.spec.digest, m.PROTOCOL], []
        )

    def beat(self) -> bytes:
        return wire("beat", [self.asked, time.monotonic_ns()], [])

    def sealed(self) -> bytes:
        """A segment of this name whose seal is right and whose content lies."""
        self.asked += 1
        seq = self.asked if self.rng.random() < 0.9 else 2 * self.asked
        fields = list(m.Segment.__struct_fields__)[6:]
        body = self._build(
            m.Segment, {self.rng.choice(fields)} if self.rng.random() < 0.7 else set(), seq=seq
        )
        array = ("|u1", (len(body),), body)
        return wire(
            "sealed", [self.name, self.boot, seq, digest64(body), list(array[:2]), False], [array]
        )

    def _build(
        self, kind: type[m.Message], strange: set[str], value: Any = None, seq: int | None = None
    ) -> bytes:
        values: list[Any] = []
        arrays: list[Array] = []
        for field in kind.__struct_fields__:
            hint = self._hints[kind][field]
            if field in strange:
                one = value if value is not None else self.rng.choice(self._ends(hint))
            elif field == "seq" and seq is not None:
                one = seq
            else:
                one = self._plausible(kind, field, hint)
            if isinstance(one, tuple) and len(one) == 3 and isinstance(one[2], bytes):
                arrays.append(one)
                one = [one[0], list(one[1])]
            values.append(one)
        return wire(self._tags[kind], values, arrays)

    def _ends(self, hint: Any) -> tuple[Any, ...]:
        if hint is int:
            return INTS + WRONG
        if hint is float:
            return FLOATS + WRONG
        if hint is str:
            return TEXTS + self.names + WRONG
        if hint is bool:
            return (True, False, *WRONG)
        if hint is np.ndarray:
            rng = self.rng
            shapes = [self._array(rng.choice(DTYPES), shape) for shape in SHAPES]
            return (*shapes, *(self._array(dtype, (8,)) for dtype in DTYPES), *WRONG)
        if "Outcome" in str(hint):
            return (
                [self._outcome(self.rng.choice(INTS))] * 3,
                [self._outcome(0)] * 3000,
                [[1]],
                *WRONG,
            )
        if "Event" in str(hint):
            return ([[0, "x" * 50, "y" * 500]] * 200, *WRONG)
        if "tuple" in str(hint):
            return (list(INTS), list(range(800)), [0] * 1500, [-1], *WRONG)
        return (
            {t[:60]: n for t, n in zip(TEXTS, INTS, strict=True)},
            {f"r{i}": 1 for i in range(800)},
            *WRONG,
        )

    def _plausible(self, kind: type[m.Message], field: str, hint: Any) -> Any:
        rng, now_ns = self.rng, time.monotonic_ns()
        if hint is np.ndarray:
            return self._fitting(kind, field)
        if field in self.true:
            return self.true[field]
        if field in ("device", "node", "process"):
            return self.name if rng.random() < 0.7 else rng.choice((*self.names, "evil"))
        if field == "boot":
            return self.boot if rng.random() < 0.7 else rng.choice((0, 1, self.boot + 1, 2**63 - 1))
        if field in ("seq", "acked", "below"):
            return rng.choice((self.asked, self.asked + 1, 0, 7))
        if field.endswith("_ns"):
            likely = {
                "period_ns": self.spec.period_ns,
                "ahead_ns": 0,
                "held_ns": 1000,
                "compute_ns": 1000,
            }
            return likely.get(field, now_ns + rng.choice((-1000, -(10**8), 10**8, 10**10)))
        words = {
            "role": "device",
            "spec": self.spec.digest,
            "software": "tierloop",
            "tier": "edge",
            "digest": "0" * 64,
        }
        if hint is str:
            return words.get(field, "word")
        if hint is bool:
            return rng.random() < 0.5
        if hint in (int, float):
            return rng.randrange(0, 70_000)
        return {} if "dict" in str(hint) else []

    def _fitting(self, kind: type[m.Message], field: str) -> Array:
        features, actions = self.spec.observation.size, self.spec.action.size
        shape: dict[str, tuple[str, tuple[int, ...]]] = {
            "features": ("<f4", (2, features) if kind is m.Segment else (features,)),
            "actions": ("<f4", (self.spec.horizon, actions)), "applied": ("<f4", (2, actions)),
            "captured_ns": ("<i8", (2,)), "age_ns": ("<i8", (2,)), "versions": ("<i8", (2,)),
            "body": ("|u1", (64,)), "data": ("|u1", (512,)),
            "decisions": ("<i8", (1, len(LEDGER))), "lateness_ns": ("<i8", (4,)),
            "ages_ns": ("<i8", (1, 2)), "frame_ns": ("<i8", (2,)), "joints_rad": ("<f4", (2, 7)),
            "tool": ("<f4", (2, 2)), "placed": ("<f4", (0, 9)),
        }  # fmt: skip
        return self._array(*shape[field])

    def _array(self, dtype: str, shape: tuple[int, ...]) -> Array:
        count = 1
        for n in shape:
            count *= n
        size = min(max(0, count * SIZES.get(dtype, 8)), 4096)
        if dtype == "<f4" and size < 4096:
            ends = (0.0, -0.0, 1.0, 3.4e38, -3.4e38, 1e-45, float("nan"), float("inf"), 0.5)
            pick = self.rng.choice((ends, (0.1, -0.2, 0.3)))
            return dtype, shape, struct.pack(f"<{size // 4}f", *self.rng.choices(pick, k=size // 4))
        return (
            dtype,
            shape,
            self.rng.choice((bytes(size), b"\xff" * size, self.rng.randbytes(size))),
        )

    def _outcome(self, number: int) -> list[Any]:
        return [
            number,
            self.rng.random() < 0.5,
            "reached",
            self.rng.choice((-1, 0, 1, 2**62)),
            0,
            self.rng.choice(INTS),
        ]


def _sealed(header: bytes) -> bytes:
    data = _U32.pack(len(header)) + header
    return data + _U32.pack(crc32(data))
