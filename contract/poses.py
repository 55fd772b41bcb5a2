"""Poses of a simulated robot and of what moves about it: told to the roof, to be drawn later.

They are no part of what a body tells its device: the simulator knows them, no sensor does.
"""

from collections.abc import Iterable
from typing import Annotated, NamedTuple, Protocol, runtime_checkable

from msgspec import Meta

from tierloop.contract.bounds import Bounded, Count, Name, Real
from tierloop.contract.errors import SpecError
from tierloop.contract.messages import FloatRows, Ints, Message

OBJECTS_MAX = 1024
"""Objects that one message names."""
PLACED_COLUMNS = 9
"""Frame, object, position x y z, orientation x y z w."""


class SceneObject(Bounded, frozen=True, kw_only=True, array_like=True, gc=False):
    """A solid of a scene that moves: `kind` is the task's word for it, `shape` "box" or "cylinder".

    `size_m`: the half sides of a box, or the radius and the height of an upright cylinder.
    """

    name: Name
    kind: Name
    shape: Name
    size_m: Annotated[tuple[Real, ...], Meta(max_length=3)]


class PlacedObject(NamedTuple):
    """Where an object is: position of its centre (m), orientation (x, y, z, w), world frame."""

    solid: SceneObject
    position_m: tuple[float, float, float]
    orientation: tuple[float, float, float, float]


@runtime_checkable
class InScene(Protocol):
    """A simulated body that is not alone."""

    def objects(self) -> Iterable[PlacedObject]:
        """What moves about it, now."""
        ...


class Poses(Message, tag="poses", frozen=True, kw_only=True):
    """Where a simulated robot and what moves about it were, frame by frame.

    `frame_ns` int64[F]: when, on the host's true clock; `at_ns`: the last of them. `joints_rad`
    float32[F, J]. `tool` float32[F, 2]: what the tool's switch was told, and 1 while it holds
    something. `placed` float32[P, 9], a row for each object of each frame: the frame, the object
    (both by their place in this message), position (m) and orientation (x, y, z, w), world frame.
    """

    process: Name
    boot: Count
    at_ns: Count
    frame_ns: Ints
    joints_rad: FloatRows
    tool: FloatRows
    objects: Annotated[tuple[SceneObject, ...], Meta(max_length=OBJECTS_MAX)]
    placed: FloatRows

    def _agree(self) -> None:
        n = len(self.frame_ns)
        if len(self.joints_rad) != n or self.tool.shape != (n, 2):
            raise SpecError(f"poses: expected joints_rad and tool of {n} frames")
        if self.placed.shape[1] != PLACED_COLUMNS:
            raise SpecError(f"poses.placed: expected float32[*, {PLACED_COLUMNS}]")
        for column, most in ((0, n), (1, len(self.objects))):
            index = self.placed[:, column]
            if not ((index >= 0) & (index < most)).all():
                raise SpecError("poses.placed: a row of no frame, or of no object")
