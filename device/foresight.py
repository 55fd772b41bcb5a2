"""Predicts what the sensors will say when the answer to a question starts to act.

An answer acts one delay after the capture of its observation. The device knows that delay from the
last answers, and it knows how the body will move meanwhile: those commands are already decided.
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
    """Predicts readings; the delay is the median of the last ANSWERS, `limit_ns` at most."""

    def __init__(self, tool_position: ToolPosition, limit_ns: int) -> None:
        self._tool_position = tool_position
        self._limit_ns = limit_ns
        self._premises: dict[int, Vector] = {}
        self._delays_ns: deque[int] = deque(maxlen=ANSWERS)

    def answered(self, delay_ns: int) -> None:
        """Notes that an answer came `delay_ns` after its observation's capture, late or not."""
        self._delays_ns.append(max(delay_ns, 0))

    @property
    def ahead_ns(self) -> int:
        """The delay to expect in nanoseconds; 0 before the first answer."""
        return min(median_low(self._delays_ns), self._limit_ns) if self._delays_ns else 0

    def premise(self, seq: int) -> Vector | None:
        """The setpoint float64[A] that was predicted for observation `seq`, or None."""
        return self._premises.get(seq)

    def expect(
        self, seq: int, reading: Reading, ahead_ns: int, plan: ChunkPlan | None, setpoint: Vector
    ) -> Reading:
        """Returns the reading expected `ahead_ns` later, for observation `seq`.

        `setpoint` float64[A] is the setpoint in force. Each joint is expected to move, from where
        it was measured, as far as its setpoint will; without a plan it stays. If the switch will
        be off, the tool is expected to let go.
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
