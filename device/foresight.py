"""Foresight: what the sensors are expected to say once an answer can act.

An answer acts one delay after the capture of what it answers. A device knows that delay from its
last answers, and it knows what its body will do meanwhile: the commands are under way already.
"""

from collections import deque
from statistics import median_low

from tierloop.contract.body import SWITCH_ON, Reading, ToolPosition
from tierloop.contract.specs import Vector
from tierloop.device.chunks import ChunkPlan

ANSWERS = 15
"""Answers whose median delay is the one expected."""
PREMISES = 64
"""Expectations kept for answers under way."""


class Foresight:
    """Expects the delay to be the median of the last ANSWERS, `limit_ns` at most."""

    def __init__(self, tool_position: ToolPosition, limit_ns: int) -> None:
        self._tool_position = tool_position
        self._limit_ns = limit_ns
        self._premises: dict[int, Vector] = {}
        self._delays_ns: deque[int] = deque(maxlen=ANSWERS)

    def answered(self, delay_ns: int) -> None:
        """An answer came `delay_ns` after the capture of what it answers, in time or not."""
        self._delays_ns.append(max(delay_ns, 0))

    @property
    def ahead_ns(self) -> int:
        """The delay to expect; 0 before the first answer."""
        return min(median_low(self._delays_ns), self._limit_ns) if self._delays_ns else 0

    def premise(self, seq: int) -> Vector | None:
        """Where the setpoint, float64[A], was expected to be when `seq` was asked; None if not."""
        return self._premises.get(seq)

    def expect(
        self, seq: int, reading: Reading, ahead_ns: int, plan: ChunkPlan | None, setpoint: Vector
    ) -> Reading:
        """The reading `ahead_ns` later, if the body goes on as commanded, for observation `seq`.

        `setpoint` float64[A] is what is in force now. Each joint moves by what its setpoint will,
        from where it was measured; without a plan it stays. A tool whose switch goes off lets go.
        """
        at_ns = reading.captured_ns + ahead_ns
        wish = setpoint if plan is None else plan.foreseen(at_ns)
        self._premises[seq] = wish
        if len(self._premises) > PREMISES:
            del self._premises[next(iter(self._premises))]
        position = reading.position_rad + (wish - setpoint)[:-1]
        switch = float(wish[-1])
        return reading._replace(
            captured_ns=at_ns,
            position_rad=position,
            tool_m=self._tool_position(position),
            switch=switch,
            holding=reading.holding and switch > SWITCH_ON,
        )
