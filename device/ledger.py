"""The ledger's rows on the device: opened at the capture, closed when nothing can be added."""

import numpy as np
from numpy.typing import NDArray

from tierloop.contract.bounds import INT_MAX
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.ledger import INDEX, LEDGER, Refusal, Rung, Tier
from tierloop.contract.messages import ActionChunk
from tierloop.device.meter import ENERGY_PARTS, Meter
from tierloop.device.origin import Origin
from tierloop.device.uplink import Place
from tierloop.link.clock_offset import Offset

OPEN_NS = 2 * NS_PER_S
"""How long a row waits for its answer to act before it goes into the report."""
CAPACITY = 4096
ROWS_MAX = 256
"""Rows in one report: with all else it tells it stays below the stream's cap."""

_SEQ, _CAPTURED, _SENT = INDEX["seq"], INDEX["captured_ns"], INDEX["sent_ns"]
_RECEIVED, _APPLIED, _HELD = INDEX["received_ns"], INDEX["applied_ns"], INDEX["held_ns"]
_COMPUTE, _BATCH, _TIER = INDEX["compute_ns"], INDEX["batch"], INDEX["tier"]
_VERSION, _REFUSED, _RUNG = INDEX["policy_version"], INDEX["refused"], INDEX["rung"]
_UP, _DOWN = INDEX["bytes_up"], INDEX["bytes_down"]
_EPISODE, _AHEAD = INDEX["episode"], INDEX["ahead_ns"]
_PARTS = [INDEX[f"{part}_uj"] for part in ENERGY_PARTS]
_VOLTAGE, _SOC = INDEX["voltage_mv"], INDEX["soc_ppm"]
_SEGMENT, _SEGMENT_ROW = INDEX["segment"], INDEX["segment_row"]
_AGE, _OLDEST = INDEX["age_ns"], INDEX["oldest_ns"]
_ACTING, _ACTING_PPM, _ALSO = INDEX["acting"], INDEX["acting_ppm"], INDEX["acting_also"]
_THERE, _BACK, _BOUND = INDEX["up_ns"], INDEX["down_ns"], INDEX["way_bound_ns"]
_TIERS = {tier.name.lower(): int(tier) for tier in Tier}


class Rows:
    """The newest rows, int64[CAPACITY, C], in a ring by sequence number."""

    def __init__(self) -> None:
        self._rows = np.zeros((CAPACITY, len(LEDGER)), np.int64)
        self._first = 0
        self._end = 0
        self._spent_uj = [0] * len(ENERGY_PARTS)
        self.episode = 0

    def open(
        self, seq: int, captured_ns: int, ahead_ns: int, place: Place, rung: Rung, meter: Meter
    ) -> None:
        """Opens a row, with the energy that the meter has counted since the row before."""
        row = self._rows[seq % CAPACITY]
        row[:] = 0
        row[_SEQ], row[_CAPTURED], row[_RUNG] = seq, captured_ns, rung
        row[_VERSION], row[_BOUND], row[_EPISODE], row[_AHEAD] = -1, -1, self.episode, ahead_ns
        row[_AGE] = row[_OLDEST] = row[_ACTING] = row[_ALSO] = -1
        row[_SEGMENT], row[_SEGMENT_ROW] = place
        spent_uj, battery = [round(j * 1e6) for j in meter.joules.values()], meter.battery
        for column, now_uj, before_uj in zip(_PARTS, spent_uj, self._spent_uj, strict=True):
            row[column] = now_uj - before_uj
        self._spent_uj = spent_uj
        row[_VOLTAGE], row[_SOC] = round(battery.voltage_v * 1e3), round(battery.soc * 1e6)
        self._end = seq + 1
        self._first = max(self._first, self._end - CAPACITY)

    def acting(self, seq: int, now_ns: int, origin: Origin) -> None:
        """Notes what the setpoint written at the capture is made of."""
        row = self._rows[seq % CAPACITY]
        row[_AGE], row[_OLDEST] = now_ns - origin.captured_ns, now_ns - origin.oldest_ns
        (row[_ACTING], share), *more = origin.versions
        row[_ACTING_PPM] = round(share * 1e6)
        row[_ALSO] = more[0][0] if more else -1

    def sent(self, seq: int, now_ns: int, size: int) -> None:
        row = self._rows[seq % CAPACITY]
        row[_SENT], row[_UP] = now_ns, size

    def objection(self, chunk: ActionChunk) -> Refusal:
        """Why a chunk of this boot is not the first answer to its question, or Refusal.NONE."""
        if not max(0, self._end - CAPACITY) <= chunk.seq < self._end:
            return Refusal.NOT_ASKED
        row = self._rows[chunk.seq % CAPACITY]
        if row[_CAPTURED] != chunk.captured_ns or row[_AHEAD] != chunk.ahead_ns:
            return Refusal.NOT_ASKED
        return Refusal.REORDERED if row[_RECEIVED] else Refusal.NONE

    def answered(
        self, now_ns: int, chunk: ActionChunk, refusal: Refusal, offset: Offset | None
    ) -> bool:
        """Writes an answer into its row; returns whether it is the first to that question.

        Answers to another boot's questions and to rows that are gone are ignored. `offset`: the
        answering tier's clock against the device's, or None if it is not known.
        """
        if refusal in (Refusal.WRONG_BODY, Refusal.WRONG_BOOT) or chunk.seq >= self._end:
            return False
        row = self._rows[chunk.seq % CAPACITY]
        if row[_SEQ] != chunk.seq or row[_RECEIVED]:
            return False
        row[_REFUSED] = refusal
        if refusal is Refusal.NOT_ASKED:
            return False
        row[_RECEIVED], row[_HELD], row[_COMPUTE] = now_ns, chunk.held_ns, chunk.compute_ns
        row[_BATCH], row[_TIER] = chunk.batch, _TIERS.get(chunk.tier, 0)
        row[_VERSION], row[_DOWN] = chunk.policy_version, chunk.actions.nbytes
        if offset is not None and chunk.arrived_ns:
            there_ns = chunk.arrived_ns - offset.offset_ns
            row[_THERE] = _clipped(there_ns - int(row[_SENT]))
            row[_BACK] = _clipped(now_ns - there_ns - chunk.held_ns)
            row[_BOUND] = _clipped(offset.bound_ns)
        return True

    def applied(self, seq: int, now_ns: int) -> None:
        if self._has(seq):
            self._rows[seq % CAPACITY, _APPLIED] = now_ns

    def take(self, now_ns: int, last: bool) -> NDArray[np.int64]:
        """Returns the rows closed since the last call, int64[R, C], ROWS_MAX at most.

        With `last` also those that are still open.
        """
        first = end = self._first
        while end < min(self._end, first + ROWS_MAX):
            if not last and now_ns - self._rows[end % CAPACITY, _CAPTURED] < OPEN_NS:
                break
            end += 1
        self._first = end
        return self._rows[np.arange(first, end) % CAPACITY]

    @property
    def waiting(self) -> int:
        """Number of rows not yet taken."""
        return self._end - self._first

    def _has(self, seq: int) -> bool:
        return self._first <= seq < self._end


def _clipped(number: int) -> int:
    """The nearest number that the ledger can hold."""
    return min(max(number, -INT_MAX - 1), INT_MAX)
