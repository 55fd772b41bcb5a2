"""Checks every setpoint that is written to the body, independently of arbiter and guard.

It sees what was written, when, and which chunk asked for it; it changes nothing. It runs on both
clocks.
"""

from collections import Counter
from collections.abc import Callable

from tierloop.contract.body import ToolPosition
from tierloop.contract.messages import ActionChunk, Observation
from tierloop.contract.specs import BodySpec, PolicySpec, Vector

ROUNDING = 1e-6
"""Relative and absolute room for rounding."""
OUTSIDE_M = 0.005
"""How far outside the workspace the tool may be."""
LOOK_TICKS = 16
"""Ticks between two looks at where the tool is: they cost more than all the rest."""

JUDGED = (
    "stale_action", "unasked_action", "action_order", "version_mixed", "row_due", "not_held",
    "limit_position", "limit_velocity", "limit_acceleration", "limit_switch", "limit_workspace",
    "tick_replayed",
)  # fmt: skip
"""What is counted, each a promise broken (docs/invariants.md)."""

ASKED_MAX = 256
"""Questions kept: more than can be asked within any validity."""

Tell = Callable[[int, str, str], None]


class Watch:
    """Checks one device in one boot; calls `tell(now_ns, name, detail)` on a violation."""

    def __init__(
        self,
        body: BodySpec,
        tool_position: ToolPosition,
        policy: PolicySpec,
        anchored: bool,
        start: Vector,
        tell: Tell,
    ) -> None:
        """`anchored`: rows are due by what they answer; `start` float64[A] is in force."""
        self._validity_ns, self._rows = policy.validity_ns, policy.horizon
        self._anchored = anchored
        self._period_ns = body.control_period_ns
        dt_s = body.control_period_ns * 1e-9
        self._per_s = 1.0 / dt_s
        self._joints = list(
            zip(
                body.position_low_rad,
                body.position_high_rad,
                (v * (1 + ROUNDING) + ROUNDING for v in body.velocity_rad_s),
                (a * dt_s * (1 + ROUNDING) + ROUNDING for a in body.acceleration_rad_s2),
                strict=True,
            )
        )
        self._tool_position = tool_position
        self._space = list(zip(body.workspace_low_m, body.workspace_high_m, strict=True))
        self._nearest_m = self._outside_m(start)
        self._ticks = 0
        self._setpoint: list[float] = start.tolist()
        self._velocity = [0.0] * len(self._joints)
        self._asked: dict[int, tuple[int, int, int]] = {}
        self._chunk: ActionChunk | None = None
        self._seq = self._version = -1
        self._before_ns = self._last_ns = self._first_ns = -1
        self.found: Counter[str] = Counter(dict.fromkeys(JUDGED, 0))
        self.tell = tell

    @property
    def due(self) -> int:
        """Number of ticks that were due from the first to the last, both included."""
        return round((self._last_ns - self._first_ns) / self._period_ns) + (self._last_ns >= 0)

    def asked(self, observation: Observation) -> None:
        """Notes a question: a chunk may act only if it answers one and has its stamps."""
        asked = self._asked
        asked[observation.seq] = observation.boot, observation.captured_ns, observation.ahead_ns
        if len(asked) > ASKED_MAX:
            del asked[next(iter(asked))]

    def wrote(self, now_ns: int, setpoint: Vector, chunk: ActionChunk | None) -> None:
        """Checks what the tick of `now_ns` wrote, float64[A], for `chunk` if it is not None."""
        values: list[float] = setpoint.tolist()
        self._timed(now_ns)
        if chunk is not None:
            self._acted(now_ns, chunk, values[-1])
        self._moved(now_ns, values, held=chunk is None)
        self._ticks += 1
        if self._ticks % LOOK_TICKS == 0:
            self._looked(now_ns, setpoint)

    def _timed(self, now_ns: int) -> None:
        """Checks that the outer two of any three ticks are more than a period apart."""
        if self._first_ns < 0:
            self._first_ns = now_ns
        elif self._before_ns >= 0 and now_ns - self._before_ns <= self._period_ns:
            self._broken(now_ns, "tick_replayed", f"three within {now_ns - self._before_ns} ns")
        self._before_ns, self._last_ns = self._last_ns, now_ns

    def _acted(self, now_ns: int, chunk: ActionChunk, switch: float) -> None:
        late_ns = now_ns - min(chunk.valid_until_ns, chunk.captured_ns + self._validity_ns)
        if late_ns > 0:
            self._broken(now_ns, "stale_action", f"action {chunk.seq}, {late_ns} ns too late")
        if chunk is not self._chunk:
            stamps = chunk.boot, chunk.captured_ns, chunk.ahead_ns
            if self._asked and self._asked.get(chunk.seq) != stamps:
                self._broken(now_ns, "unasked_action", f"action {chunk.seq} answers no question")
            if chunk.seq < self._seq:
                self._broken(now_ns, "action_order", f"action {chunk.seq} after {self._seq}")
            elif chunk.seq == self._seq and chunk.policy_version != self._version:
                both = f"v{self._version} and v{chunk.policy_version}"
                self._broken(now_ns, "version_mixed", f"action {chunk.seq} is of {both}")
            self._chunk, self._seq, self._version = chunk, chunk.seq, chunk.policy_version
        row = max(0, (now_ns - chunk.anchor_ns) // chunk.period_ns)
        if self._anchored and row < self._rows:
            due = min(max(float(chunk.actions[row, -1]), 0.0), 1.0)
            if abs(switch - due) > ROUNDING:
                self._broken(now_ns, "row_due", f"action {chunk.seq}: not row {row}, which is due")

    def _moved(self, now_ns: int, values: list[float], held: bool) -> None:
        """Checks position, velocity and acceleration; without a chunk joints may only brake."""
        last, speeds = self._setpoint, self._velocity
        for i, (low, high, fastest, change) in enumerate(self._joints):
            value, before = values[i], speeds[i]
            speed = (value - last[i]) * self._per_s
            if not low <= value <= high:
                self._broken(now_ns, "limit_position", f"joint {i} at {value:.4f} rad")
            if not -fastest <= speed <= fastest:
                self._broken(now_ns, "limit_velocity", f"joint {i} at {speed:.4f} rad/s")
            if not -change <= speed - before <= change:
                self._broken(
                    now_ns, "limit_acceleration", f"joint {i}, {before:.4f} to {speed:.4f}"
                )
            if held and abs(speed) > max(abs(before) - change + 4 * ROUNDING, 0.0) + ROUNDING:
                self._broken(now_ns, "not_held", f"joint {i}, {before:.4f} to {speed:.4f} rad/s")
            speeds[i] = speed
        if not 0.0 <= values[-1] <= 1.0:
            self._broken(now_ns, "limit_switch", f"switch at {values[-1]}")
        self._setpoint = values

    def _looked(self, now_ns: int, setpoint: Vector) -> None:
        """Checks the workspace: a tool that is outside may only come back."""
        outside_m = self._outside_m(setpoint)
        if outside_m > self._nearest_m + OUTSIDE_M:
            self._broken(now_ns, "limit_workspace", f"the tool {1e3 * outside_m:.1f} mm outside")
        self._nearest_m = min(self._nearest_m, outside_m)

    def _outside_m(self, setpoint: Vector) -> float:
        outside_m = 0.0
        tool_m = self._tool_position(setpoint[:-1]).tolist()
        for at, (low, high) in zip(tool_m, self._space, strict=True):
            outside_m = max(outside_m, low - at, at - high)
        return outside_m

    def _broken(self, now_ns: int, name: str, detail: str) -> None:
        self.found[name] += 1
        if self.found[name] == 1:
            self.tell(now_ns, "violation", f"{name}: {detail}")
