"""The perceive stage of the sort task: tracks the part from noisy scans, makes the observation."""

from dataclasses import dataclass
from math import tanh

import numpy as np

from tierloop.contract.body import Reading, Scan
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.specs import ArraySpec, BodySpec, FloatArray
from tierloop.sim.tasks.sort import layout as lay

SPEED_M_S = 0.10
"""What the belt's speed is believed to be before a part is seen twice."""
TRUST_S2 = 0.004
"""How much that belief weighs: (scan noise 2 mm / its spread 3 cm/s) squared."""
AGE_MAX_S = 3.0
NEAR_M = 0.03
"""Within about this distance the near features resolve where the part is."""
ON_BELT_M = 0.03
"""A part lost no higher than this above the belt still stands on it."""


def observation_spec(body: BodySpec) -> ArraySpec:
    """The features in order. Joint positions come first, labelled as the action's joints are.

    Speeds of joints and the state of the switch are left out on purpose: they tell what the last
    action was, a student then repeats it, and with a delay in the loop it swings itself up.
    """
    rows: list[tuple[str, float, float]] = [
        (f"{joint}_rad", low, high)
        for joint, low, high in zip(
            body.joints, body.position_low_rad, body.position_high_rad, strict=True
        )
    ]
    rows += [
        (f"tool_{axis}_m", low, high)
        for axis, low, high in zip("xyz", body.workspace_low_m, body.workspace_high_m, strict=True)
    ]
    rows.append(("holding", 0.0, 1.0))
    rows += [(f"part_{axis}_from_tool_m", -0.6, 0.6) for axis in "xyz"]
    rows += [(f"part_{axis}_near", -1.0, 1.0) for axis in "xyz"]
    rows += [("belt_m_s", 0.0, 0.2), ("part_height_m", 0.0, 0.1)]
    rows += [(f"is_{kind}", 0.0, 1.0) for kind in lay.KINDS]
    rows += [("part_known", 0.0, 1.0), ("scan_age_s", 0.0, AGE_MAX_S)]
    labels, low, high = zip(*rows, strict=True)
    return ArraySpec(name="observation", labels=labels, low=low, high=high)


class Track:
    """One part on the belt, by least squares through its scans, with a prior on the speed."""

    def __init__(self, scan: Scan, speed_m_s: float = SPEED_M_S) -> None:
        self._prior = TRUST_S2 * speed_m_s
        self.part, self.kind, self.height_m = scan.part, scan.kind, scan.height_m
        self.last_ns = self._zero_ns = scan.captured_ns
        self._n = self._t = self._tt = self._x = self._y = self._ty = self._z = 0.0
        self.add(scan)

    def add(self, scan: Scan) -> None:
        """Adds another scan of the same part to the fit."""
        x, y, z = scan.position_m
        t = (scan.captured_ns - self._zero_ns) / NS_PER_S
        self._n += 1.0
        self._t += t
        self._tt += t * t
        self._x += x
        self._y += y
        self._ty += t * y
        self._z += z
        self.last_ns = scan.captured_ns
        n = self._n
        spread = self._tt - self._t * self._t / n
        drift = self._ty - self._t * self._y / n
        self.speed_m_s = (drift + self._prior) / (spread + TRUST_S2)

    def top_m(self, now_ns: int) -> tuple[float, float, float]:
        """The middle of the part's top at `now_ns`, m, extrapolated with the fitted belt speed."""
        n = self._n
        since_s = (now_ns - self._zero_ns) / NS_PER_S - self._t / n
        return self._x / n, self._y / n + self.speed_m_s * since_s, self._z / n


@dataclass(frozen=True)
class Carried:
    """What is remembered of the part at the cup."""

    kind: int
    height_m: float


class SortPerceiver:
    """Tracks the part that comes next; remembers the class of the one it carries.

    If the cup loses a part while it still stands on the belt, that part is tracked on.
    """

    def __init__(self, spec: ArraySpec) -> None:
        self._low = np.array(spec.low, np.float32)
        self._high = np.array(spec.high, np.float32)
        self._track: Track | None = None
        self._carried: Carried | None = None
        self._taken = -1

    def update(self, reading: Reading) -> None:
        """Updates the tracks with one reading."""
        for scan in reading.scans:
            if self._track is not None and scan.part == self._track.part:
                self._track.add(scan)
            else:
                self._track = Track(scan)
        if reading.holding == (self._carried is not None):
            return
        if reading.holding:
            self._take()
        else:
            self._release(reading)

    def _take(self) -> None:
        track = self._track
        self._carried = Carried(track.kind, track.height_m) if track else Carried(-1, 0.0)
        self._taken = track.part if track else -1

    def _release(self, reading: Reading) -> None:
        """Tracks a part on from where the cup lost it, if it was still on the belt."""
        track, self._carried = self._track, None
        if track is None or track.part != self._taken:
            return
        x, y, z = reading.tool_m.tolist()
        if z - track.height_m < lay.BELT_TOP_M + ON_BELT_M:
            lost = Scan(reading.captured_ns, track.part, (x, y, z), track.kind, track.height_m)
            self._track = Track(lost, track.speed_m_s)
            self._taken = -1

    def features(self, reading: Reading) -> FloatArray:
        """The observation at the reading's capture time, float32[observation.size].

        The belt carries a tracked part on at its speed; a tool that does not hold carries none.
        """
        x, y, z = reading.tool_m.tolist()
        values = reading.position_rad.tolist()
        values += (x, y, z, float(reading.holding))
        values += self._part(reading, x, y, z)
        features = np.array(values, np.float32)
        clipped: FloatArray = np.minimum(np.maximum(features, self._low), self._high)
        return clipped

    def _part(self, reading: Reading, x: float, y: float, z: float) -> tuple[float, ...]:
        track, now_ns = self._track, reading.captured_ns
        carried = self._carried if reading.holding else None
        away, speed, age_s, known = (0.0, 0.0, 0.0), SPEED_M_S, AGE_MAX_S, 0.0
        if track is not None and track.part != self._taken:
            px, py, pz = track.top_m(now_ns)
            if py < lay.BELT_END_M:
                away, known = (px - x, py - y, pz - z), 1.0
                speed = track.speed_m_s
                age_s = (now_ns - track.last_ns) / NS_PER_S
        about = carried or (track if known else None)
        kind, height = (about.kind, about.height_m) if about else (-1, 0.0)
        classes = [float(kind == k) for k in range(len(lay.KINDS))]
        near = [tanh(d / NEAR_M) for d in away]
        return (*away, *near, speed, height, *classes, known, age_s)
