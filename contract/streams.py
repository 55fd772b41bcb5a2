"""The table of streams: one line for each message that one tier sends to another.

A line says rate, delivery, deadline and size. How long a peer may be silent follows from it.
"""

from enum import Enum
from typing import NamedTuple

from tierloop.contract import messages as m
from tierloop.contract.clock import period_ns
from tierloop.contract.poses import Poses


class Delivery(Enum):
    NEWEST = "newest"  # a newer one replaces one that waits; the replaced are counted
    QUEUE = "queue"  # bounded, in order; what does not fit is counted
    RELIABLE = "reliable"  # a queue whose sender keeps the message until it is acknowledged


class Stream(NamedTuple):
    """One arrow. `rate_hz` 0: on demand; `deadline_ms` 0: none; `depth` bounds the queue."""

    message: type[m.Message]
    source: str
    target: str
    rate_hz: float
    delivery: Delivery
    depth: int
    deadline_ms: int
    max_bytes: int


_KB = 1024
# fmt: off
STREAMS: tuple[Stream, ...] = (
    #      message          from      to        Hz   delivery           depth  ms    bytes
    Stream(m.Hello,         "client", "server",  0,  Delivery.QUEUE,       4, 1000,   4 * _KB),
    Stream(m.Welcome,       "server", "client",  0,  Delivery.QUEUE,       4, 1000,   4 * _KB),
    Stream(m.Refused,       "server", "client",  0,  Delivery.QUEUE,       4, 1000,   4 * _KB),
    Stream(m.Beat,          "client", "server",  5,  Delivery.NEWEST,      1,  200,   1 * _KB),
    Stream(m.Echo,          "server", "client",  5,  Delivery.NEWEST,      1,  200,   1 * _KB),
    Stream(m.Observation,   "device", "edge",   20,  Delivery.NEWEST,      1,   50,  64 * _KB),
    Stream(m.ActionChunk,   "edge",   "device", 20,  Delivery.NEWEST,      1,   50,  64 * _KB),
    Stream(m.Segment,       "device", "cloud",   2,  Delivery.RELIABLE,  512,    0, 192 * _KB),
    Stream(m.Sealed,        "device", "edge",    2,  Delivery.RELIABLE,  512,    0, 256 * _KB),
    Stream(m.Sealed,        "edge",   "cloud",   0,  Delivery.RELIABLE,  512,    0, 256 * _KB),
    Stream(m.Stored,        "server", "client",  0,  Delivery.QUEUE,      64,    0,   8 * _KB),
    Stream(m.Offer,         "cloud",  "edge",    0,  Delivery.RELIABLE,    8,    0,   4 * _KB),
    Stream(m.Fetch,         "edge",   "cloud",   0,  Delivery.QUEUE,      64,    0,   1 * _KB),
    Stream(m.Part,          "cloud",  "edge",    0,  Delivery.QUEUE,      64,    0,  80 * _KB),
    Stream(m.PolicyStatus,  "edge",   "cloud",   0,  Delivery.QUEUE,      16,    0,   4 * _KB),
    Stream(m.Report,        "any",    "roof",    1,  Delivery.QUEUE,      64, 2000, 256 * _KB),
    Stream(Poses,           "device", "roof",    1,  Delivery.QUEUE,      64, 2000, 256 * _KB),
)
# fmt: on

MISSED_PERIODS = 5
"""A stream is alive if it was heard within this many of its own periods."""

ALL: tuple[type[m.Message], ...] = tuple(dict.fromkeys(s.message for s in STREAMS))
"""Every message that there is, in the order of the table."""
DELIVERY: dict[type[m.Message], Delivery] = {s.message: s.delivery for s in STREAMS}
STREAM_NAME: dict[type[m.Message], str] = {k: str(k.__struct_config__.tag) for k in ALL}
DEPTH: dict[type[m.Message], int] = {s.message: s.depth for s in STREAMS}
MAX_BYTES: dict[type[m.Message], int] = {s.message: s.max_bytes for s in STREAMS}


def socket_cap_bytes() -> int:
    """The largest message any stream may carry; sockets refuse more."""
    return max(MAX_BYTES.values())


def silence_ns(message: type[m.Message]) -> int:
    """After so many ns without a message on this stream its sender counts as gone."""
    rate_hz = next(s.rate_hz for s in STREAMS if s.message is message)
    if rate_hz <= 0:
        raise ValueError(f"{message.__name__} declares no rate")
    return MISSED_PERIODS * period_ns(rate_hz)
