"""The interface of a policy: observations in, setpoints out, on any tier."""

from typing import NamedTuple, Protocol

from tierloop.contract.specs import FloatArray, PolicySpec


class Work(NamedTuple):
    """What a policy asks of a machine, whatever the machine."""

    ops: int
    """Floating-point operations for one observation."""
    weight_bytes: int
    """Constants that are read once a batch."""


class Policy(Protocol):
    """Decides. A remote policy, a local one and a test's fake share this interface."""

    spec: PolicySpec
    version: int

    @property
    def work(self) -> Work | None:
        """What an answer asks of a machine; None where nobody has counted it."""
        ...

    def act(self, features: FloatArray) -> FloatArray:
        """Observations float32[B, D] to setpoints float32[B, H, A], already clipped."""
        ...
