"""The constants of the device's energy model, as shipped in energy.toml, and the pack's make-up."""

from importlib.resources import files
from itertools import pairwise
from typing import Any

import msgspec

from tierloop.contract.constants import Constant, Curve, constants

CELLS_MAX = 10_000
"""In a row, and rows."""

# Each is checked against the type of the field that takes it, in `Energy` itself.
_TABLE = files("tierloop.device") / "energy.toml"
_SHIPPED: dict[str, Any] = dict(constants(_TABLE.read_text("utf-8"), "device/energy.toml"))


class Energy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[device.energy]` table: constants that differ from those of device/energy.toml."""

    base_w: Constant = _SHIPPED["base_w"]
    """Everything that is always on and counted nowhere else."""
    radio_idle_w: Constant = _SHIPPED["radio_idle_w"]
    """The radio, ready, with nothing to do."""
    radio_send_j_per_frame: Constant = _SHIPPED["radio_send_j_per_frame"]
    """A frame sent, whatever its size."""
    radio_send_j_per_byte: Constant = _SHIPPED["radio_send_j_per_byte"]
    """A byte sent."""
    radio_receive_j_per_frame: Constant = _SHIPPED["radio_receive_j_per_frame"]
    """A frame received, whatever its size."""
    radio_receive_j_per_byte: Constant = _SHIPPED["radio_receive_j_per_byte"]
    """A byte received."""
    radio_tail_w: Constant = _SHIPPED["radio_tail_w"]
    """Above idle, from a frame until the tail's end."""
    radio_tail_s: Constant = _SHIPPED["radio_tail_s"]
    """How long after a frame the radio stays in that state."""
    regulator_efficiency: Constant = _SHIPPED["regulator_efficiency"]
    """Share of what the battery gives that reaches computer, radio, sensors and base load."""
    regeneration: Constant = _SHIPPED["regeneration"]
    """Share of what braking joints leave on the bus of the drives that goes back to the battery."""
    cell_capacity_ah: Constant = _SHIPPED["cell_capacity_ah"]
    """One cell, from full to empty."""
    cell_ocv_v: Curve = _SHIPPED["cell_ocv_v"]
    """One cell at rest, from empty to full."""
    cell_r0_ohm: Constant = _SHIPPED["cell_r0_ohm"]
    """One cell's resistance at once."""
    cell_r1_ohm: Constant = _SHIPPED["cell_r1_ohm"]
    """Resistance of its RC pair."""
    cell_c1_f: Constant = _SHIPPED["cell_c1_f"]
    """Capacitance of its RC pair."""
    cell_cutoff_v: Constant = _SHIPPED["cell_cutoff_v"]
    """Below this, under load, the pack cuts out."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            given, shipped = getattr(self, name), _SHIPPED[name]
            if given.unit != shipped.unit:
                raise ValueError(f"{name} is in {shipped.unit!r}, not in {given.unit!r}")
            least = min(given.values if isinstance(given, Curve) else (given.value,))
            if least < 0:
                raise ValueError(f"{name} must not be negative, not {least:g}")
        for name in ("regulator_efficiency", "cell_capacity_ah", "cell_r1_ohm", "cell_c1_f"):
            if getattr(self, name).value == 0:
                raise ValueError(f"{name} must be positive")
        for name in ("regulator_efficiency", "regeneration"):
            given = getattr(self, name)
            if max(given.value, given.most or 0.0) > 1:
                raise ValueError(f"{name} is a share: at most 1")
        curve = self.cell_ocv_v.values
        if curve[0] <= 0 or any(a > b for a, b in pairwise(curve)):
            raise ValueError("cell_ocv_v must be positive and must not descend")


class BatteryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[device.battery]` table: a pack of the cells that `[device.energy]` describes."""

    series: int = 13
    """Cells in a row: the voltage."""
    parallel: int = 2
    """Rows side by side: the capacity. 13 x 2 hold about 490 Wh."""
    soc: float = 1.0
    """State of charge at every start of the device, 0 to 1."""

    def __post_init__(self) -> None:
        if not (1 <= self.series <= CELLS_MAX and 1 <= self.parallel <= CELLS_MAX):
            raise ValueError(f"series and parallel must lie between 1 and {CELLS_MAX}")
        if not 0 < self.soc <= 1:
            raise ValueError(f"soc must lie above 0 and not above 1, not {self.soc:g}")
