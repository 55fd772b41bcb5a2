"""The expert of the sort task: labels any observation with the chunk a calm robot would play."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tierloop.contract.specs import FloatArray, PolicySpec, Vector
from tierloop.sim.bodies.panda import HOME_RAD, Postures, body_spec, postures
from tierloop.sim.tasks.sort import layout as lay

READY_M = (lay.BELT_X_M, -0.12, 0.26)
"""Where the tool waits when no part is known."""
HOVER_M = 0.07
"""Height above a part until the tool is over it."""
FUNNEL_M = (0.006, 0.05)
"""Within the first distance of a part's middle the tool goes down to it; beyond the second it
stays at the hover; smooth in between."""
TOUCH_M = 0.003
"""The lip's height over the part when the cup is to take it."""
CARRY_M = lay.BELT_TOP_M + lay.HEIGHT_MAX_M + 0.05
"""Height of the tool on the way to a bin."""
CLEAR_M = (0.004, 0.025)
"""A carried part starts sideways above the first height over the belt, freely above the second."""
SUCK_M = (0.04, 0.08)
"""The pump runs within the first distance of a part, not beyond the second."""
DROP_M = (0.02, 0.04)
"""Over a bin the pump stops within the first distance of its middle, not beyond the second."""
PICK_Y_M = (lay.SCAN_END_M, 0.22)
"""The stretch of the belt where parts are picked; upstream of it the tool waits for them."""
BLEND_M = 0.03

GAIN_HZ = 5.0
"""Speed towards a goal for each metre away."""
SPEED_M_S = 0.55
ACCELERATION_M_S2 = 3.0
START_M_S = 0.12
"""Speed at once from rest."""
TILT_GAIN_HZ = 4.0
HOME_GAIN_HZ = 1.0
RETURN_GAIN_HZ = 2.0
ASTRAY_TILT = (0.15, 0.4)
"""1 - cos of the tool's tilt: from the first on the arm is going astray, from the second it is."""
ASTRAY_M = (0.005, 0.03)
"""The same for the tool's depth below the top of the belt."""
DAMPING = 0.03
JOINT_SHARE = 0.7
"""How much of a joint's speed limit a calm motion uses."""
LAG_S = 0.014
"""How far the drives trail their setpoints."""


def expert(spec: PolicySpec) -> Callable[[FloatArray], FloatArray]:
    """The expert for the Panda: float32[N, D] features to float32[N, H, A] setpoints."""
    return Expert(spec).label


class _View(NamedTuple):
    """Features by name; N rows, vectors float64[3, N]."""

    tool_m: Vector
    part_m: Vector
    holding: Vector
    belt_m_s: Vector
    height_m: Vector
    bin_m: Vector
    known: Vector
    position_rad: Vector


class Expert:
    """Labels observations of the sort task with the chunk a calm expert would answer.

    A reactive plan: above the part as it moves, down a funnel onto it, pump on, up, over the bin
    of its class, pump off, back. It has no memory, so any state a student strays into has an
    answer; within a mode (carrying or not) the answer is smooth, so that a student can learn it.
    The tool is rolled forward over the rows while the part moves on; joints follow by damped
    least squares, drawn towards one home posture, the tool pointing down.
    """

    def __init__(self, spec: PolicySpec) -> None:
        self._spec = spec
        self._dt_s = spec.period_ns * 1e-9
        self._speed = JOINT_SHARE * np.array(body_spec(1, 1).velocity_rad_s)[:, np.newaxis]
        self._at = {label: i for i, label in enumerate(spec.observation.labels)}

    def label(self, features: FloatArray) -> FloatArray:
        """float32[N, D] features to float32[N, H, A] setpoints."""
        view = self._view(features.astype(np.float64).T)
        rows = np.empty((len(features), self._spec.horizon, self._spec.action.size))
        q, part = view.position_rad, view.part_m
        for row in range(self._spec.horizon):
            arm = postures(q)
            wish, suction = _plan(view, arm.tool_m, part)
            dq = self._joint_velocity(arm, wish, q)
            q = q + dq * self._dt_s
            part = part + np.array([[0.0], [1.0], [0.0]]) * view.belt_m_s * self._dt_s
            rows[:, row, :-1] = (q + dq * LAG_S).T
            rows[:, row, -1] = suction
        low, high = self._spec.action.low, self._spec.action.high
        labels: FloatArray = np.clip(rows, low, high).astype(np.float32)
        return labels

    def _view(self, f: Vector) -> _View:
        at = self._at
        tool = f[at["tool_x_m"] : at["tool_z_m"] + 1]
        kinds = f[at[f"is_{lay.KINDS[0]}"] :][: len(lay.KINDS)]
        middles = np.array([(x, y, CARRY_M) for x, y in lay.BINS_M])
        return _View(
            tool_m=tool,
            part_m=tool + f[at["part_x_from_tool_m"] : at["part_z_from_tool_m"] + 1],
            holding=f[at["holding"]],
            belt_m_s=f[at["belt_m_s"]],
            height_m=f[at["part_height_m"]],
            bin_m=middles.T @ kinds,
            known=f[at["part_known"]],
            position_rad=f[:7],
        )

    def _joint_velocity(self, arm: Postures, tool_v: Vector, q: Vector) -> Vector:
        """Joint velocities float64[7, N]: the tool's, tilt undone, the rest drawn towards home.

        An arm gone astray (tool tilted far, or below the belt) goes home first, joint by joint.
        """
        jacobian, axis = arm.jacobian, arm.axis
        turn = TILT_GAIN_HZ * np.array([-axis[1], axis[0]])
        away = np.array(HOME_RAD)[:, np.newaxis] - q
        home = HOME_GAIN_HZ * away
        rest = np.concatenate([tool_v, turn]).T - np.einsum("nij,jn->ni", jacobian, home)
        square = jacobian @ jacobian.transpose(0, 2, 1) + DAMPING**2 * np.eye(5)
        extra = jacobian.transpose(0, 2, 1) @ np.linalg.solve(square, rest[..., np.newaxis])
        tilted = _smooth(1.0 + axis[2], *ASTRAY_TILT)
        astray = np.maximum(tilted, _smooth(lay.BELT_TOP_M - arm.tool_m[2], *ASTRAY_M))
        dq = (1.0 - astray) * (home + extra[..., 0].T) + astray * RETURN_GAIN_HZ * away
        over = np.max(np.abs(dq) / self._speed, axis=0)
        slowed: Vector = dq / np.maximum(over, 1.0)
        return slowed


def _plan(view: _View, tool: Vector, part: Vector) -> tuple[Vector, Vector]:
    """The tool velocity wished for, float64[3, N], and the pump's switch, float64[N]."""
    fetch_v, fetch_suction = _fetch(view, tool, part)
    carry_v, carry_suction = _carry(view, tool)
    wait_v = _towards(np.array(READY_M)[:, np.newaxis] - tool, SPEED_M_S)
    known, holding = view.known > 0.5, view.holding > 0.5
    free_v = np.where(known, fetch_v, wait_v) * _leaving(tool)
    suction = np.where(holding, carry_suction, fetch_suction * known)
    return np.where(holding, carry_v, free_v), suction


def _leaving(tool: Vector) -> Vector:
    """Share of the speed allowed this far from the nearest bin's middle: a gentle start."""
    away = np.min([np.hypot(tool[0] - x, tool[1] - y) for x, y in lay.BINS_M], axis=0)
    return _ramp(away)


def _ramp(way_m: Vector) -> Vector:
    """Share of the full speed that a steady acceleration has reached after this way."""
    reached = np.sqrt(START_M_S**2 + 2.0 * ACCELERATION_M_S2 * np.maximum(way_m, 0.0))
    share: Vector = np.minimum(reached / SPEED_M_S, 1.0)
    return share


def _fetch(view: _View, tool: Vector, part: Vector) -> tuple[Vector, Vector]:
    """Above the part, with it, down onto it."""
    away = np.hypot(part[0] - tool[0], part[1] - tool[1])
    goal = part.copy()
    goal[1] = np.clip(part[1], *PICK_Y_M)
    goal[2] += TOUCH_M + HOVER_M * _smooth(away, *FUNNEL_M)
    velocity = _towards(goal - tool, SPEED_M_S)
    inside = _smooth(part[1], PICK_Y_M[0] - BLEND_M, PICK_Y_M[0])
    velocity[1] += inside * view.belt_m_s
    far = np.sqrt(((part - tool) ** 2).sum(0))
    return velocity, 1.0 - _smooth(far, *SUCK_M)


def _carry(view: _View, tool: Vector) -> tuple[Vector, Vector]:
    """Up, over the bin, let go."""
    gap = view.bin_m - tool
    clear = tool[2] - view.height_m - lay.BELT_TOP_M
    velocity = _towards(gap, SPEED_M_S) * _ramp(clear)
    velocity[:2] *= _smooth(clear, *CLEAR_M)
    return velocity, _smooth(np.hypot(gap[0], gap[1]), *DROP_M)


def _towards(gap: Vector, speed_m_s: float) -> Vector:
    """Velocity that closes a gap: in proportion to it, up to a speed, smoothly bounded."""
    wish = GAIN_HZ * gap
    size = np.sqrt((wish**2).sum(0))
    bounded: Vector = wish * (speed_m_s / np.sqrt(size**2 + speed_m_s**2))
    return bounded


def _smooth(value: Vector, low: float, high: float) -> Vector:
    """0 below `low`, 1 above `high`, smooth in between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
