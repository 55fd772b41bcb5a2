"""The interface of a policy: observations in, setpoints out, on any tier."""

from typing import Protocol

from tierloop.contract.specs import FloatArray, PolicySpec


class Policy(Protocol):
    """Decides. A remote policy, a local one and a test's fake share this interface."""

    spec: PolicySpec
    version: int

    def act(self, features: FloatArray) -> FloatArray:
        """Observations float32[B, D] to setpoints float32[B, H, A], already clipped."""
        ...
