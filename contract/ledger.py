"""The ledger: the table of int64 columns that has one row per decision, with their units."""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Column(NamedTuple):
    name: str
    doc: str


LEDGER: tuple[Column, ...] = (
    Column("seq", "number of the observation within the device's boot"),
    Column("captured_ns", "device clock: the world was so"),
    Column("sent_ns", "device clock: the observation left"),
    Column("received_ns", "device clock: the answer arrived; 0 if none did"),
    Column("applied_ns", "device clock: the answer first acted; 0 if it never did"),
    Column("held_ns", "time between receipt and answer in the answering tier, its clock"),
    Column("compute_ns", "of which in the engine, for the whole batch"),
    Column("batch", "observations in that batch"),
    Column("tier", "who answered: value of Tier"),
    Column("policy_version", "version that answered; -1 if none"),
    Column("refused", "why the answer did not act: value of Refusal"),
    Column("rung", "what drove the body at the capture: value of Rung"),
    Column("bytes_up", "bytes of the observation"),
    Column("bytes_down", "bytes of the answer"),
    Column("actuation_uj", "energy since the previous row, microjoules: joints and switch"),
    Column("episode", "number of the episode under way"),
    Column("ahead_ns", "how far past the capture the observation was predicted; 0: it was not"),
    Column("compute_uj", "likewise: the device's computer"),
    Column("radio_uj", "likewise: the device's radio"),
    Column("sensing_uj", "likewise: its sensors"),
    Column("base_uj", "likewise: what is always on"),
    Column("conversion_uj", "likewise: lost in the regulator"),
    Column("battery_uj", "likewise: lost in the battery"),
    Column("voltage_mv", "the battery's terminals, under load, millivolts"),
    Column("soc_ppm", "the battery's state of charge, millionths"),
    Column("segment", "seq of the segment that holds what was seen and applied at the capture"),
    Column("segment_row", "row of it in that segment"),
    Column("up_ns", "from leaving the device to receipt in the answering tier, estimated"),
    Column("down_ns", "from leaving that tier to arrival at the device, estimated"),
    Column("way_bound_ns", "both are true within this; -1: the clocks' offset was not known"),
    Column(
        "age_ns",
        "mean age, by share, of the observations that the setpoint wished for at the "
        "capture answers; -1: it answers none, as in a hold. The guard's delay is not in it: where "
        "it limits, the setpoint written is still on its way to that wish",
    ),
    Column("oldest_ns", "the age of the oldest of them"),
    Column("acting", "policy version with the largest share in that setpoint; -1 if none"),
    Column("acting_ppm", "its share, millionths"),
    Column("acting_also", "policy version with the next largest share; -1 if it acts alone"),
)
INDEX = {column.name: i for i, column in enumerate(LEDGER)}


def coded(rows: NDArray[np.int64]) -> bool:
    """Whether every tier, refusal and rung in ledger rows int64[R, C] is a known code."""
    return all(
        bool(np.isin(rows[:, INDEX[name]], list(kind)).all())
        for name, kind in (("tier", Tier), ("refused", Refusal), ("rung", Rung))
    )


class Tier(IntEnum):
    NONE = 0
    DEVICE = 1
    EDGE = 2
    CLOUD = 3


class Rung(IntEnum):
    """The ladder, from best to last."""

    EDGE = 0
    DEVICE = 1
    HOLD = 2
    STOP = 3


class Refusal(IntEnum):
    """Why a chunk did not act. NONE: it acted, or may still.

    NOT_ASKED: its stamps are not those of the question of its number; an answer whose stamps are
    takes the place of this word in the row.
    """

    NONE = 0
    EXPIRED = 1
    REORDERED = 2
    WRONG_BODY = 3
    WRONG_BOOT = 4
    NOT_FINITE = 5
    SUPERSEDED = 6
    STOPPED = 7
    PREMISE = 8
    NOT_ASKED = 9
