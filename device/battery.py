"""A battery: open-circuit voltage by state of charge, a resistance and one RC pair (Thevenin)."""

from itertools import accumulate, pairwise
from math import exp, sqrt

from tierloop.device.energy import BatteryConfig, Energy

S_PER_H = 3600.0


class Battery:
    """The state of a battery pack under load, in plain floats: a draw takes about a microsecond.

    `soc`: state of charge, 0 to 1. `voltage_v`: at the terminals, under the last load;
    `lowest_v`: its lowest so far. `internal_j`: heat in the resistances, and what the RC pair
    holds. `unserved_j`: asked for, but more than an empty or overloaded pack could give.
    `cut_out`: the voltage fell below the cut-off or the pack ran empty; it never clears.
    """

    __slots__ = (
        "_charge_c", "_curve", "_cutoff_v", "_emf_v", "_from_j", "_last", "_r0", "_r1", "_rc_v",
        "_slopes", "_tau_s", "_work_j", "cut_out", "internal_j", "lowest_v", "r0_j", "soc",
        "unserved_j", "voltage_v",
    )  # fmt: skip

    def __init__(self, cell: Energy, pack: BatteryConfig) -> None:
        n, rows = pack.series, pack.parallel
        self._curve = [v * n for v in cell.cell_ocv_v.values]
        self._slopes = [b - a for a, b in pairwise(self._curve)]
        self._last = len(self._slopes)
        self._charge_c = cell.cell_capacity_ah.value * S_PER_H * rows
        self._r0 = cell.cell_r0_ohm.value * n / rows
        self._r1 = cell.cell_r1_ohm.value * n / rows
        self._tau_s = cell.cell_r1_ohm.value * cell.cell_c1_f.value
        self._cutoff_v = cell.cell_cutoff_v.value * n
        pieces = (self._charge_c * (a + b) / (2 * self._last) for a, b in pairwise(self._curve))
        self._work_j = [*accumulate(pieces, initial=0.0)]
        self.soc = pack.soc
        self._from_j = self.stored_j
        self._rc_v = 0.0
        self._emf_v = self.voltage_v = self.lowest_v = self.open_v(pack.soc)
        self.internal_j = self.r0_j = self.unserved_j = 0.0
        self.cut_out = False

    def open_v(self, soc: float) -> float:
        """The open-circuit voltage, linear between the curve's points, constant beyond its ends."""
        at = soc * self._last
        if at <= 0.0:
            return self._curve[0]
        i = int(at)
        if i >= self._last:
            return self._curve[-1]
        return self._curve[i] + self._slopes[i] * (at - i)

    def draw(self, power_w: float, elapsed_s: float) -> None:
        """Draws `power_w` at the terminals for `elapsed_s`; negative power charges the pack.

        The current follows from power and sag, P = (E - R0 I) I, and is held over the step; the RC
        pair and the charge are then exact (zero-order hold).
        """
        emf_v, r0 = self._emf_v, self._r0
        if self.soc <= 0.0 and power_w > 0.0:
            current_a, self.cut_out = 0.0, True
            self.unserved_j += power_w * elapsed_s
        else:
            under = emf_v * emf_v - 4.0 * r0 * power_w
            if under >= 0.0:
                current_a = 2.0 * power_w / (emf_v + sqrt(under))
            else:
                current_a, self.cut_out = emf_v / (2.0 * r0), True
                self.unserved_j += (power_w - emf_v * emf_v / (4.0 * r0)) * elapsed_s
        settled_v = self._r1 * current_a
        decay = exp(-elapsed_s / self._tau_s)
        rc_vs = settled_v * elapsed_s + (self._rc_v - settled_v) * self._tau_s * (1.0 - decay)
        heat_j = r0 * current_a * current_a * elapsed_s
        self.r0_j += heat_j
        self.internal_j += heat_j + current_a * rc_vs
        self._rc_v = settled_v + (self._rc_v - settled_v) * decay
        self.soc -= current_a * elapsed_s / self._charge_c
        self._emf_v = self.open_v(self.soc) - self._rc_v
        voltage_v = self.voltage_v = self._emf_v - r0 * current_a
        if voltage_v < self.lowest_v:
            self.lowest_v = voltage_v
            if voltage_v < self._cutoff_v:
                self.cut_out = True

    def settle(self, energy_j: float) -> None:
        """Draws energy that was used earlier and is known only now, at the present voltage."""
        charge_c, before_v = energy_j / self.voltage_v, self.open_v(self.soc)
        self.soc -= charge_c / self._charge_c
        after_v = self.open_v(self.soc)
        self.internal_j += ((before_v + after_v) / 2.0 - self.voltage_v) * charge_c
        self._emf_v = after_v - self._rc_v

    @property
    def stored_j(self) -> float:
        """Joules that the cells can still give, if there were no resistance."""
        at = self.soc * self._last
        i = min(max(int(at), 0), self._last - 1)
        per_step_c = self._charge_c / self._last
        if 0.0 <= at <= self._last:
            return self._work_j[i] + per_step_c * (at - i) * (
                self._curve[i] + self._slopes[i] * (at - i) / 2.0
            )
        end = 0 if at < 0.0 else self._last
        return self._work_j[end] + per_step_c * (at - end) * self._curve[end]

    @property
    def given_j(self) -> float:
        """Joules that the cells have given since the start, by their state of charge alone."""
        return self._from_j - self.stored_j
