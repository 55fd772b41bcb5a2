"""Estimates the energy of a device by part and by cause, in joules, from models.

Every figure is labelled `model`, not measured.
Joint: tau*w + copper*tau^2 + viscous*w^2 + coulomb*|w|, summed by the body over a tick. A joint
that brakes gives to the bus of the body's drives, from which the others take; what they leave
comes back times the regeneration. Holding against gravity costs copper loss through the torque.
Compute: idle + busy time * (busy - idle). Radio: idle, per frame, per byte, tail. Sensors, drives,
switch, base load: constant while on. All but joints, drives and switch go through the regulator.
docs/energy.md.
"""

from math import isfinite

from tierloop.contract.body import Effort
from tierloop.contract.specs import BodySpec
from tierloop.device.battery import Battery
from tierloop.device.config import DeviceConfig

ENERGY_PARTS = ("actuation", "compute", "radio", "sensing", "base", "conversion", "battery")
"""What the battery gives goes to these, and to nothing else. Battery: its own loss."""


class Meter:
    """Adds up energy since the start and draws it from the battery.

    Busy time is told from outside and after the fact: ticks draw what the last interval's share
    of it costs, `busy_until` makes good the difference. Slots: a tick takes a quarter less time.
    """

    __slots__ = (
        "_actuation_j", "_base_w", "_braking_j", "_bus_share", "_busy_above_w", "_busy_drawn_j",
        "_busy_from_s", "_busy_known_j", "_busy_s", "_busy_w", "_copper_j", "_coulomb_j",
        "_drive_j", "_drives_w", "_elapsed_s", "_frames_j", "_idle_w", "_joints", "_known_s",
        "_loss", "_motion_j", "_radio", "_radio_j", "_received", "_received_bytes",
        "_regeneration", "_sensors_w", "_sent", "_sent_bytes", "_shared_j", "_steady_w",
        "_switch_j", "_switch_w", "_tail_j", "_tail_left_s", "_viscous_j", "battery",
        "unmeasured",
    )  # fmt: skip

    def __init__(self, spec: BodySpec, config: DeviceConfig, processor_s: float = 0.0) -> None:
        """`processor_s`: processor time already used when the account opens."""
        energy = config.energy
        self._joints = list(
            zip(spec.copper_w_per_nm2, spec.viscous_w_s2, spec.coulomb_w_s, strict=True)
        )
        self._drives_w, self._bus_share = spec.drive_w * len(spec.joints), spec.bus_share
        self._regeneration = energy.regeneration.value
        self._switch_w, self._sensors_w = spec.switch_w, spec.sensors_w
        self._base_w = energy.base_w.value
        self._idle_w = config.compute.idle_w or 0.0
        self._busy_above_w = (config.compute.busy_w or 0.0) - self._idle_w
        self._radio = energy
        self._loss = 1.0 / energy.regulator_efficiency.value - 1.0
        self._steady_w = self._sensors_w + self._base_w + self._idle_w + energy.radio_idle_w.value
        self.battery = Battery(energy, config.battery)
        self._motion_j = self._copper_j = self._viscous_j = self._coulomb_j = 0.0
        self._actuation_j = self._switch_j = self._braking_j = 0.0
        self._drive_j = self._shared_j = 0.0
        self._sent = self._sent_bytes = self._received = self._received_bytes = 0
        self._radio_j = self._frames_j = self._tail_j = self._tail_left_s = 0.0
        self._elapsed_s = self._known_s = 0.0
        self._busy_s = self._busy_w = self._busy_drawn_j = self._busy_known_j = 0.0
        self._busy_from_s = processor_s
        self.unmeasured = 0
        """Ticks whose readings were no numbers; their joints cost nothing, which is too little."""

    def tick(self, elapsed_s: float, effort: Effort, switch: float) -> float:
        """Adds the energy of `elapsed_s`, in which the joints did `effort`.

        Returns the joules of joints and switch; every other part is counted as well.
        """
        if elapsed_s <= 0.0:
            return 0.0
        actuation_j = self._actuate(elapsed_s, effort, switch * self._switch_w * elapsed_s)
        radio_j, self._frames_j = self._frames_j, 0.0
        if self._tail_left_s > 0.0:
            tail_j = min(self._tail_left_s, elapsed_s) * self._radio.radio_tail_w.value
            self._tail_left_s -= elapsed_s
            self._tail_j += tail_j
            radio_j += tail_j
        self._radio_j += radio_j
        self._elapsed_s += elapsed_s
        self._busy_drawn_j += self._busy_w * elapsed_s
        logic_j = (self._steady_w + self._busy_w) * elapsed_s + radio_j
        self.battery.draw((actuation_j + logic_j * (1.0 + self._loss)) / elapsed_s, elapsed_s)
        return actuation_j

    def _actuate(self, elapsed_s: float, effort: Effort, switch_j: float) -> float:
        """Joints, drives and switch; the capacitors of the bus last for a tick."""
        share = self._bus_share
        motion = copper = viscous = coulomb = given = 0.0
        for (per_tau2, per_w2, per_w), work, tau2, w2, way in zip(
            self._joints, *effort, strict=True
        ):
            heat, drag, rub = per_tau2 * tau2, per_w2 * w2, per_w * way
            needs = work + heat + drag + rub
            if needs < 0.0:
                given -= needs * share
                work, heat, drag, rub = work * share, heat * share, drag * share, rub * share
            motion += work
            copper += heat
            viscous += drag
            coulomb += rub
        drive = self._drives_w * elapsed_s
        bus_j = motion + copper + viscous + coulomb + drive
        if not isfinite(bus_j + switch_j):
            self.unmeasured += 1
            return 0.0
        kept = 1.0
        if bus_j < 0.0:
            kept = self._regeneration
            self._braking_j -= bus_j
        self._motion_j += kept * motion
        self._copper_j += kept * copper
        self._viscous_j += kept * viscous
        self._coulomb_j += kept * coulomb
        self._drive_j += kept * drive
        self._shared_j += kept * given
        self._switch_j += switch_j
        self._actuation_j += kept * bus_j + switch_j
        return kept * bus_j + switch_j

    def sent(self, size: int) -> None:
        """Adds the energy of sending a frame of `size` bytes."""
        radio = self._radio
        self._sent += 1
        self._sent_bytes += size
        self._frames_j += (
            radio.radio_send_j_per_frame.value + radio.radio_send_j_per_byte.value * size
        )
        self._tail_left_s = radio.radio_tail_s.value

    def received(self, size: int) -> None:
        """Adds the energy of receiving a frame of `size` bytes."""
        radio = self._radio
        self._received += 1
        self._received_bytes += size
        self._frames_j += (
            radio.radio_receive_j_per_frame.value + radio.radio_receive_j_per_byte.value * size
        )
        self._tail_left_s = radio.radio_tail_s.value

    def busy_until(self, processor_s: float) -> None:
        """Corrects the computer's energy to `processor_s` of processor time since the start."""
        self._busy_s = min(processor_s - self._busy_from_s, self._elapsed_s)
        busy_j = self._busy_above_w * self._busy_s
        self.battery.settle((busy_j - self._busy_drawn_j) * (1.0 + self._loss))
        self._busy_drawn_j = busy_j
        if self._elapsed_s > self._known_s:
            share_w = (busy_j - self._busy_known_j) / (self._elapsed_s - self._known_s)
            self._busy_w = min(share_w, self._busy_above_w)
        self._busy_known_j, self._known_s = busy_j, self._elapsed_s

    @property
    def joules(self) -> dict[str, float]:
        """Joules by part that the battery gave."""
        elapsed_s = self._elapsed_s
        compute_j = self._idle_w * elapsed_s + self._busy_drawn_j
        radio_j = self._radio.radio_idle_w.value * elapsed_s + self._radio_j
        sensing_j, base_j = self._sensors_w * elapsed_s, self._base_w * elapsed_s
        return {
            "actuation": self._actuation_j,
            "compute": compute_j,
            "radio": radio_j,
            "sensing": sensing_j,
            "base": base_j,
            "conversion": self._loss * (compute_j + radio_j + sensing_j + base_j),
            "battery": self.battery.internal_j,
        }

    @property
    def causes(self) -> dict[str, float]:
        """Energy in proportion to each constant, joules: what an error of the constant acts on.

        Drawn from nowhere are `shared`, what joints gave to the bus, and `braking`, what the bus
        had too much: what regeneration could be worth.
        """
        radio, elapsed_s = self._radio, self._elapsed_s
        busy_s = self._busy_drawn_j / self._busy_above_w if self._busy_above_w else self._busy_s
        return {
            "motion": self._motion_j,
            "copper": self._copper_j,
            "viscous": self._viscous_j,
            "coulomb": self._coulomb_j,
            "switch": self._switch_j,
            "drive": self._drive_j,
            "shared": self._shared_j,
            "braking": self._braking_j,
            "compute_idle": self._idle_w * (elapsed_s - busy_s),
            "compute_busy": (self._idle_w + self._busy_above_w) * busy_s,
            "radio_idle": radio.radio_idle_w.value * elapsed_s,
            "radio_send_frame": radio.radio_send_j_per_frame.value * self._sent,
            "radio_send_byte": radio.radio_send_j_per_byte.value * self._sent_bytes,
            "radio_receive_frame": radio.radio_receive_j_per_frame.value * self._received,
            "radio_receive_byte": radio.radio_receive_j_per_byte.value * self._received_bytes,
            "radio_tail": self._tail_j,
            "battery_r0": self.battery.r0_j,
        }
