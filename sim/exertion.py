"""Sums what joints do, step of physics by step, for the readings of a simulated body."""

from collections.abc import Sequence

from tierloop.contract.body import Effort


class Exertion:
    """What the joints of one body have done since it was last taken."""

    def __init__(self, joints: int, step_s: float) -> None:
        self._joints, self._step_s, self._zeros = range(joints), step_s, [0.0] * joints
        self._sums = self._none()

    def add(
        self,
        torque_nm: Sequence[float],
        before_rad_s: Sequence[float],
        after_rad_s: Sequence[float],
    ) -> None:
        """One step: the torque in it, and the velocity at both ends, between which it is straight.

        One loop over so few joints takes half of what arrays, or a list for each integral, take.
        """
        work, torque2, speed2, travel = self._sums
        lasts = self._step_s
        for joint in self._joints:
            torque, speed = torque_nm[joint], 0.5 * (before_rad_s[joint] + after_rad_s[joint])
            way = speed * lasts
            work[joint] += torque * way
            torque2[joint] += torque * torque * lasts
            speed2[joint] += speed * way
            travel[joint] += way if way > 0.0 else -way

    def take(self) -> Effort:
        """What was done; what follows counts anew."""
        done, self._sums = self._sums, self._none()
        return Effort(*done)

    def _none(self) -> tuple[list[float], ...]:
        zeros = self._zeros
        return zeros.copy(), zeros.copy(), zeros.copy(), zeros.copy()
