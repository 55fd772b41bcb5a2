"""Joules of a body, by part, from models: every figure is `model`, none is measured here.

Joint: tau*w + copper*tau^2 + viscous*w^2 + coulomb*|w|, no regeneration. Compute: idle +
utilisation * (busy - idle). Radio: idle + per frame + per byte. Sensors, switch and base load:
constant while on. Constants and their sources: docs/energy.md.
"""

import numpy as np

from contract.specs import BodySpec, Vector
from device.config import DeviceConfig


class Meter:
    """Adds up energy by part; `joules` holds the totals since the start."""

    def __init__(self, spec: BodySpec, config: DeviceConfig, processor_s: float = 0.0) -> None:
        """`processor_s`: processor time already used when the account opens."""
        self._copper = np.array(spec.copper_w_per_nm2)
        self._viscous = np.array(spec.viscous_w_s2)
        self._coulomb = np.array(spec.coulomb_w_s)
        self._switch_w = spec.switch_w
        self._sensors_w = spec.sensors_w
        self._config = config
        self._actuation_j = 0.0
        self._radio_j = 0.0
        self._elapsed_s = 0.0
        self._busy_s = 0.0
        self._busy_from_s = processor_s

    def tick(self, elapsed_s: float, torque: Vector, velocity: Vector, switch: float) -> float:
        """Accounts for `elapsed_s` at these joint torques (Nm) and velocities (rad/s); joules."""
        effort = torque * (velocity + self._copper * torque)
        friction = velocity * (self._viscous * velocity + np.sign(velocity) * self._coulomb)
        power = np.maximum(effort + friction, 0.0).sum() + switch * self._switch_w
        joules = float(power) * elapsed_s
        self._actuation_j += joules
        self._elapsed_s += elapsed_s
        return joules

    def sent(self, size: int) -> None:
        """One frame of `size` bytes left."""
        radio = self._config.radio
        self._radio_j += radio.send_j_per_frame + radio.send_j_per_byte * size

    def received(self, size: int) -> None:
        """One frame of `size` bytes came."""
        radio = self._config.radio
        self._radio_j += radio.receive_j_per_frame + radio.receive_j_per_byte * size

    def busy_until(self, processor_s: float) -> None:
        """The process has used `processor_s` of processor time since it started."""
        self._busy_s = processor_s - self._busy_from_s

    @property
    def joules(self) -> dict[str, float]:
        compute, elapsed_s = self._config.compute, self._elapsed_s
        idle_w, busy_w = compute.idle_w or 0.0, compute.busy_w or 0.0
        busy_s = min(self._busy_s, elapsed_s)
        return {
            "actuation": self._actuation_j,
            "compute": idle_w * elapsed_s + (busy_w - idle_w) * busy_s,
            "radio": self._config.radio.idle_w * elapsed_s + self._radio_j,
            "sensing": self._sensors_w * elapsed_s,
            "base": self._config.base_w * elapsed_s,
        }
