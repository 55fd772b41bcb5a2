"""The `[reality]` table of a deployment file: how the robots differ from their twin."""

import msgspec

from tierloop.sim.drives import Dynamics

LAG_MAX_MS, TIMES_MAX = 1000.0, 10.0
"""Beyond these nothing is left that could be called a drive."""


class Reality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[reality]` table: how the robots differ from their twin, which the cloud learns with.

    The twin, and whatever plans or judges, has the body as its maker describes it.
    """

    drive_lag_ms: float = 0.0
    """Added to the lag of every drive."""
    drive_bandwidth: float = 1.0
    """The bandwidth of every drive, in times that of the twin's."""
    drive_strength: float = 1.0
    """The largest torque of every drive, in times that of the twin's."""

    def __post_init__(self) -> None:
        if not 0 <= self.drive_lag_ms <= LAG_MAX_MS:
            raise ValueError(
                f"drive_lag_ms must lie between 0 and {LAG_MAX_MS:g}, not {self.drive_lag_ms:g}"
            )
        for name in ("drive_bandwidth", "drive_strength"):
            if not 0 < (times := getattr(self, name)) <= TIMES_MAX:
                raise ValueError(
                    f"{name} must lie above 0 and at most {TIMES_MAX:g}, not {times:g}"
                )

    def of(self, nominal: Dynamics) -> Dynamics:
        """What becomes of the drives that a body has by its maker."""
        return Dynamics(
            nominal.bandwidth_hz * self.drive_bandwidth, nominal.lag_ms + self.drive_lag_ms
        )


NOMINAL = Reality()
"""The body as its maker describes it: the twin's."""
