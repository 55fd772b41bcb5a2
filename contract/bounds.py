"""Bounds: what a field may be stands in its type, and is judged wherever a message is made.

    seq: Count                                              # an integer from 0 to INT_MAX
    parents: Annotated[tuple[Version, ...], Meta(max_length=16)]

The decoder judges what comes over a link. What is made in a process is judged by a function that
is written here from the same types, once a class, as dataclasses are: it costs what the lines would
by hand, and no field can be forgotten.
"""

from math import isfinite
from sys import float_info
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec
import numpy as np
from msgspec import Meta

from tierloop.contract.errors import SpecError

INT_MAX = 2**63 - 1
"""The largest integer that the ledger, SQLite and the wire can all hold."""
STAMP_MAX = 2**62
"""Times of another host's clock lie below it: what is reckoned from two of them fits 63 bits."""
NAME_MAX = 128
"""Characters of a name; answers quote it."""
TEXT_MAX = 1024
"""Characters of a sentence."""

Count = Annotated[int, Meta(ge=0, le=INT_MAX)]
"""A number, a size, or a time on a clock that began at 0."""
Unbounded = Annotated[int, Meta(ge=0)]
"""A number that a stranger gives itself, as large as the wire carries: a node refuses it in words
past INT_MAX."""
Version = Annotated[int, Meta(ge=-1, le=INT_MAX)]
"""Of a policy; -1: none, or several."""
MIXED = -1
"""The version of an episode in which several policies acted, or none."""
Signed = Annotated[int, Meta(ge=-INT_MAX - 1, le=INT_MAX)]
"""A figure of somebody's clock, of which nothing is known but that the ledger can hold it."""
Real = Annotated[float, Meta(ge=-float_info.max, le=float_info.max)]
"""A float that is a number."""
Name = Annotated[str, Meta(max_length=NAME_MAX)]
Text = Annotated[str, Meta(max_length=TEXT_MAX)]


class Array(NamedTuple):
    """The type and the number of dimensions of an array."""

    dtype: str
    ndim: int


def cut(text: str, most: int = NAME_MAX) -> str:
    """The text, or its beginning."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _test(kind: Any, value: str) -> str:
    """Python that says whether `value` is within the bounds of `kind`; "" if there are none."""
    if get_origin(kind) is not Annotated:
        return ""
    inner, bound = get_args(kind)
    if isinstance(bound, Array):
        return f"{value}.ndim == {bound.ndim} and {value}.dtype == {bound.dtype}"
    if bound.max_length is None:
        most = "" if bound.le is None else f" <= {bound.le!r}"
        return f"{bound.ge!r} <= {value}{most}"
    tests = [f"len({value}) <= {bound.max_length}"]
    parts = get_args(inner)
    for part, each in zip(parts, (value, f"{value}.values()"), strict=False):
        if test := _each(part, each):
            tests.append(f"(not {value} or {test})")
    return " and ".join(tests)


def _each(kind: Any, values: str) -> str:
    """Python that says whether all of `values`, at least one, are within the bounds of `kind`."""
    if get_origin(kind) is not Annotated:
        return ""
    inner, bound = get_args(kind)
    if inner is float:
        return f"all(map(isfinite, {values}))"
    if inner is str:
        return f"max(map(len, {values})) <= {bound.max_length}"
    return f"{bound.ge} <= min({values}) and max({values}) <= {bound.le}"


def _blame(made: "Bounded") -> None:
    """Raises SpecError naming the first field that is out of its bounds."""
    owner = made.__struct_config__.tag or type(made).__name__.lower()
    for name, kind in type(made).__annotations__.items():
        value = getattr(made, name)
        test = _test(kind, "value")
        if test and not eval(test, dict(_KNOWN), {"value": value}):
            raise SpecError(f"{owner}.{name}: {_fault(kind, value)}")


def _fault(kind: Any, value: Any) -> str:
    inner, bound = get_args(kind)
    if isinstance(bound, Array):
        want = ["*"] * bound.ndim
        return f"expected {bound.dtype}{want}, got {value.dtype}{list(value.shape)}"
    if inner is float:
        return f"{value} is no number"
    if inner is int:
        return f"{value} is " + (f"below {bound.ge}" if value < bound.ge else "past 63 bits")
    if len(value) > bound.max_length:
        return f"{len(value)} long, at most {bound.max_length}"
    return "holds a text too long, or no number where one belongs"


_KNOWN: dict[str, Any] = {dtype: np.dtype(dtype) for dtype in ("float32", "int64", "uint8")}
_KNOWN["isfinite"] = isfinite


class Bounded(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Its fields are within the bounds of their types. Raises SpecError naming one that is not."""

    def __init_subclass__(cls, **_config: Any) -> None:
        """Writes `__post_init__`; what concerns several fields stands in the class's `_agree`."""
        tests = [_test(kind, f"self.{name}") for name, kind in cls.__annotations__.items()]
        whole = " and ".join(filter(None, tests)) or "True"
        agree = "self._agree()" if "_agree" in vars(cls) else "pass"
        code = f"def __post_init__(self):\n if not ({whole}): blame(self)\n {agree}"
        names = {**_KNOWN, "blame": _blame}
        exec(code, names)
        cls.__post_init__ = names["__post_init__"]  # type: ignore[attr-defined]
