"""Physical constants: each is a value with its unit, source and uncertainty."""

import tomllib
from typing import Literal

import msgspec

from tierloop.contract.errors import SpecError

Kind = Literal["measured", "datasheet", "derived", "assumed"]


class Constant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value and how far off it may be."""

    value: float
    """In `unit`."""
    unit: str
    """As in the name of what it is."""
    kind: Kind
    """Measured by the source's authors, a maker's datasheet, derived from those, or assumed."""
    source: str
    """Where it comes from."""
    uncertainty: float
    """Relative half-width of the interval that holds it nineteen times in twenty."""
    group: str = ""
    """Constants of one group are wrong together; otherwise each is wrong on its own."""
    most: float | None = None
    """In `unit`: the interval's upper end where the value is 0, of which no share is anything."""

    def __post_init__(self) -> None:
        if not 0 <= self.uncertainty <= 1:
            raise ValueError(f"uncertainty is relative, from 0 to 1, not {self.uncertainty:g}")
        if self.most is not None and not (self.value == 0 and self.most >= 0):
            raise ValueError("most is for a value of 0, and must not be negative")
        if not self.source:
            raise ValueError("source must not be empty")

    @property
    def below(self) -> float:
        """How far below the value it may be, in `unit`."""
        return self.uncertainty * abs(self.value)

    @property
    def above(self) -> float:
        """How far above the value it may be, in `unit`."""
        return self.below if self.most is None else self.most


class Curve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A constant that depends on something: straight between equally spaced points from 0 to 1."""

    values: tuple[float, ...]
    """At least two, in `unit`."""
    unit: str
    """As in the name of what it is."""
    kind: Kind
    """As of a Constant."""
    source: str
    """Where it comes from."""
    uncertainty: float
    """Relative, of the whole curve up or down: as of a Constant."""

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise ValueError("values must be at least two")
        if not 0 <= self.uncertainty <= 1:
            raise ValueError(f"uncertainty is relative, from 0 to 1, not {self.uncertainty:g}")


def constants(text: str, where: str) -> dict[str, Constant | Curve]:
    """The constants of a TOML text, one table each. Raises SpecError naming the table."""
    found: dict[str, Constant | Curve] = {}
    for name, table in tomllib.loads(text).items():
        try:
            if isinstance(table, dict) and "values" in table:
                found[name] = msgspec.convert(table, Curve)
            else:
                found[name] = msgspec.convert(table, Constant)
        except msgspec.ValidationError as error:
            raise SpecError(f"{where}: [{name}]: {error}") from None
    return found
