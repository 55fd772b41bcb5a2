"""Notes the poses of a simulated robot and of what moves about it, beside what its device reads."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tierloop.contract.body import Body, Embodiment, Reading
from tierloop.contract.poses import PLACED_COLUMNS, InScene, PlacedObject, Poses
from tierloop.contract.specs import Vector

FRAMES_MAX = 64
"""Frames of one message."""

Taken = Callable[[], list[Poses]]
"""What was noted since the last call."""


def tapped(
    embodiment: Embodiment, device: str, boot: int, poses_hz: int
) -> tuple[Embodiment, Taken]:
    """The embodiment with a tap at its body, which notes at least so many poses a second.

    Each is one of a control tick, every so many ticks, or every tick of a slower loop. With
    `poses_hz` 0 there is no tap.
    """
    if not poses_hz:
        return embodiment, list
    tap = PoseTap(embodiment.body, device, boot, poses_hz)
    return embodiment._replace(body=tap), tap.take


class _Frame(NamedTuple):
    at_ns: int
    joints_rad: Vector
    tool: tuple[float, bool]
    placed: tuple[PlacedObject, ...]


class PoseTap:
    """Implements the contract `Body`; it hands every call on, and changes nothing."""

    def __init__(self, body: Body, device: str, boot: int, poses_hz: int) -> None:
        self.spec = body.spec
        self.tool_position, self.write = body.tool_position, body.write
        self.hold, self.close = body.hold, body.close
        self._body, self._device, self._boot = body, device, boot
        self._objects = body.objects if isinstance(body, InScene) else tuple
        ticks = max(1, round(1e9 / body.spec.control_period_ns) // poses_hz)
        self._period_ns = ticks * body.spec.control_period_ns
        self._zero_ns: int | None = None
        self._due_ns = 0
        self._frames: list[_Frame] = []
        self._noted: list[Poses] = []

    def read(self, now_ns: int) -> Reading:
        reading = self._body.read(now_ns)
        if reading.captured_ns >= self._due_ns:
            self._note(reading)
        return reading

    def take(self) -> list[Poses]:
        """The poses since the last call."""
        if self._frames:
            self._pack()
        noted, self._noted = self._noted, []
        return noted

    def _note(self, reading: Reading) -> None:
        at_ns, period_ns = reading.captured_ns, self._period_ns
        if self._zero_ns is None:
            self._zero_ns = at_ns
        self._due_ns = at_ns + period_ns - (at_ns - self._zero_ns) % period_ns
        tool = (reading.switch, reading.holding)
        self._frames.append(_Frame(at_ns, reading.position_rad, tool, tuple(self._objects())))
        if len(self._frames) == FRAMES_MAX:
            self._pack()

    def _pack(self) -> None:
        frames, self._frames = self._frames, []
        solids = dict.fromkeys(placed.solid for frame in frames for placed in frame.placed)
        place = {solid: n for n, solid in enumerate(solids)}
        rows = [
            (n, place[placed.solid], *placed.position_m, *placed.orientation)
            for n, frame in enumerate(frames)
            for placed in frame.placed
        ]
        self._noted.append(
            Poses(
                process=self._device,
                boot=self._boot,
                at_ns=frames[-1].at_ns,
                frame_ns=np.array([frame.at_ns for frame in frames], np.int64),
                joints_rad=np.stack([frame.joints_rad for frame in frames]).astype(np.float32),
                tool=np.array([frame.tool for frame in frames], np.float32),
                objects=tuple(solids),
                placed=np.array(rows, np.float32).reshape(-1, PLACED_COLUMNS),
            )
        )
