"""Every field of every message is bounded, on the wire and when made: found by introspection."""

from typing import Annotated, get_args, get_origin

import msgspec
import numpy as np
import pytest
from test_codec import EXAMPLES, wire

from tierloop.contract import messages as m
from tierloop.contract.bounds import INT_MAX, Array, Bounded, Count, Unbounded, cut
from tierloop.contract.codec import Codec
from tierloop.contract.errors import SpecError, WireError
from tierloop.contract.poses import SceneObject

PARTS = [
    m.Outcome(number=1, success=True, reason="sorted", policy_version=1, started_ns=1, ended_ns=2),
    m.Event(at_ns=1, name="x"),
    SceneObject(name="part 1", kind="box", shape="box", size_m=(0.02, 0.02, 0.03)),
]
ALL = {type(example): example for example in [*EXAMPLES, *PARTS]}
FIELDS = [(owner, field) for owner in ALL for field in owner.__struct_fields__]
FREE = {bool}
"""Types that need no bound."""


def kind(owner: type, field: str) -> object:
    return owner.__annotations__[field]


def bad_values(of: object) -> list:
    """Values just outside a type's bounds. Fails where a type that needs bounds has none."""
    if of in FREE or (isinstance(of, type) and issubclass(of, Bounded)):
        return []
    assert get_origin(of) is Annotated, f"{of} has no bounds"
    inner, bound = get_args(of)
    if isinstance(bound, Array):
        other = "int64" if bound.dtype == "float32" else "float32"
        return [np.zeros([1] * (bound.ndim + 1), bound.dtype), np.zeros([1] * bound.ndim, other)]
    if of is Unbounded:  # the wire bounds it above, and the nodes
        return [bound.ge - 1]
    if inner is int:
        assert -INT_MAX - 1 <= bound.ge <= 0
        assert bound.le <= INT_MAX
        return [bound.ge - 1, bound.le + 1]
    if inner is float:
        return [float("nan"), float("inf"), -float("inf")]
    most = bound.max_length
    assert 0 < most <= 4096
    if inner is str:
        return ["x" * (most + 1)]
    part, *rest = get_args(inner)
    if get_origin(inner) is tuple:
        return [(good(part),) * (most + 1), *((bad,) for bad in bad_values(part))]
    assert get_origin(inner) is dict
    many = {str(n): good(rest[0]) for n in range(most + 1)}
    return [
        many,
        *({bad: good(rest[0])} for bad in bad_values(part)),
        *({"x": bad} for bad in bad_values(rest[0])),
    ]


def good(of: object) -> object:
    if isinstance(of, type):
        return ALL[of]
    inner, _ = get_args(of)
    return {int: 1, str: "x", float: 1.0}[inner]


def test_every_message_and_part_is_looked_at():
    below = set(Bounded.__subclasses__()) | set(m.Message.__subclasses__())
    assert below - {m.Message} == set(ALL)


@pytest.mark.parametrize(("owner", "field"), FIELDS, ids=lambda p: getattr(p, "__name__", p))
def test_what_is_out_of_its_bounds_cannot_be_made(owner, field):
    for bad in bad_values(kind(owner, field)):
        with pytest.raises(SpecError, match=field):
            owner(**{**msgspec.structs.asdict(ALL[owner]), field: bad})


@pytest.mark.parametrize(
    ("owner", "field"),
    [f for f in FIELDS if issubclass(f[0], m.Message)],
    ids=lambda p: getattr(p, "__name__", p),
)
def test_what_is_out_of_its_bounds_does_not_come_off_the_wire(owner, field):
    """Packed by another hand, in the wire form and with its checksum."""
    codec, values = Codec(), list(msgspec.structs.astuple(ALL[owner]))
    at = owner.__struct_fields__.index(field)
    assert codec.decode(packed(owner, values))
    for bad in bad_values(kind(owner, field)):
        values[at] = bad
        if not isinstance(bad, int) or -(2**63) <= bad < 2**64:  # MessagePack can say it
            with pytest.raises(WireError):
                codec.decode(packed(owner, values))


def packed(owner: type, values: list) -> bytes:
    arrays: list[bytes] = []

    def put(array):
        arrays.append(array.tobytes())
        return array.dtype.str, array.shape

    tag = owner.__struct_config__.tag
    return wire(msgspec.msgpack.Encoder(enc_hook=put).encode([tag, *values]), *arrays)


def test_only_a_hello_makes_claims():
    assert [(owner, f) for owner, f in FIELDS if kind(owner, f) is Unbounded] == [(m.Hello, "boot")]


def test_a_field_without_a_bound_is_found():
    class Loose(Bounded, frozen=True, kw_only=True, array_like=True, gc=False):
        seq: int
        bounded: Count

    with pytest.raises(AssertionError, match="no bounds"):
        bad_values(kind(Loose, "seq"))
    assert bad_values(kind(Loose, "bounded"))


def test_a_text_is_cut_to_what_a_name_may_be():
    assert cut("x" * 128) == "x" * 128
    assert len(cut("x" * 129)) == 128
    assert len(cut("é" * 5000, 1024)) == 1024
