"""The poses of a run on disk: one file for each robot, appended as they come, read frame by frame.

To draw a run again no physics is needed: a robot is where its joints are, an object where its
centre is.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tierloop.contract.poses import PlacedObject, Poses
from tierloop.contract.specs import FloatArray
from tierloop.stack.record.damage import Damage
from tierloop.stack.record.reports import PartKind, scan_part

POSES = PartKind(Poses, ".poses", "poses_lacks", "poses", "reports of poses")


class Frame(NamedTuple):
    """A robot at one instant: `joints_rad` float32[J]; `placed`: what moves about it.

    `at_ns` is on the host's true clock, as that of reports; `switch` what its tool was told.
    """

    at_ns: int
    boot: int
    joints_rad: FloatArray
    switch: float
    holding: bool
    placed: tuple[PlacedObject, ...]


def frames(folder: Path, robot: str) -> Iterator[Frame | Damage]:
    """The poses of a robot in the parts of `folder`, in order of time, and what of them is lost.

    None where none were kept. Raises OSError.
    """
    path = folder / f"{robot}{POSES.suffix}"
    for found in scan_part(path, POSES) if path.exists() else ():
        if isinstance(found, Damage):
            yield found
        else:
            yield from _frames(found)


def _frames(poses: Poses) -> Iterator[Frame]:
    placed: defaultdict[int, list[PlacedObject]] = defaultdict(list)
    for frame, solid, x, y, z, *turn in poses.placed.tolist():
        a, b, c, w = turn
        placed[int(frame)].append(PlacedObject(poses.objects[int(solid)], (x, y, z), (a, b, c, w)))
    for n, (at_ns, (switch, holding)) in enumerate(
        zip(poses.frame_ns.tolist(), poses.tool.tolist(), strict=True)
    ):
        joints_rad = poses.joints_rad[n]
        yield Frame(at_ns, poses.boot, joints_rad, switch, bool(holding), tuple(placed[n]))
