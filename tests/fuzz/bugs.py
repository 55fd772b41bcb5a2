"""Twelve bugs to plant, each a patch of production code that only tests apply.

`BUGS` maps a name to the patch and to what the fuzzer must call it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
import numpy as np

from tierloop.cloud import store
from tierloop.contract.clock import NS_PER_MS
from tierloop.contract.effects import Send
from tierloop.contract.messages import Stored
from tierloop.device.arbiter import Arbiter
from tierloop.device.chunks import ChunkPlan
from tierloop.device.guard import Guard, Limit
from tierloop.device.node import DeviceNode
from tierloop.device.rate import Rate
from tierloop.device.uplink import Uplink
from tierloop.edge.relay import Relay
from tierloop.edge.releases import Releases
from tierloop.policy import journal
from tierloop.policy.shelf import Shelf
from tierloop.stack.virtual import processes, stack

Patch = Callable[[], AbstractContextManager[Any]]


class Bug(NamedTuple):
    """A patch, and the promises it may break."""

    plant: Patch
    breaks: frozenset[str]


BUGS: dict[str, Bug] = {}


def bug(*breaks: str) -> Callable[[Callable[[], Iterator[None]]], None]:
    def enter(function: Callable[[], Iterator[None]]) -> None:
        BUGS[function.__name__] = Bug(contextmanager(function), frozenset(breaks))

    return enter


@bug("acked_lost", "nothing_acked_lost")
def acknowledge_before_commit():
    take = Relay.take

    def eager(self, sealed):
        done = Stored(device=sealed.device, boot=sealed.boot, below=0, also=(sealed.seq,))
        return [Send(sealed.device, done), *take(self, sealed)]

    with patch.object(Relay, "take", eager):
        yield


@bug("stored_twice", "exactly_once")
def no_dedupe():
    once = ",\n    UNIQUE (device, boot, seq)"
    assert store.SCHEMA.count(once) == 1
    with patch.object(store, "SCHEMA", store.SCHEMA.replace(once, "")):
        yield


def _last_row_for_ever():
    head = ChunkPlan._head

    def _head(self, row, start, start_ns):
        head(self, row, start, start_ns)
        if row == len(self._rows) - 1:
            self._next_ns = 2**62

    return patch.object(ChunkPlan, "_head", _head)


@bug("stale_action")
def freshness_by_heartbeat():
    lost = DeviceNode.on_lost

    def on_lost(self, now_ns, peer):
        self.arbiter._plan = None
        return lost(self, now_ns, peer)

    with (
        patch.object(ChunkPlan, "valid", lambda *_: True),
        _last_row_for_ever(),
        patch.object(DeviceNode, "on_lost", on_lost),
    ):
        yield


@bug("not_updated")
def version_compare_wrong():
    offer = Releases.offer

    def by_words(self, now_ns, made):
        if self.live is not None and str(made.version) <= str(self.live.policy.version):
            return self._status()
        return offer(self, now_ns, made)

    with patch.object(Releases, "offer", by_words):
        yield


@bug("row_due")
def chunk_not_anchored():
    init = Arbiter.__init__

    def begin(self, *arguments, **named):
        init(self, *arguments, **named)
        self._at_arrival = True

    with patch.object(Arbiter, "__init__", begin):
        yield


@bug("limit_velocity")
def unit_swap():
    init = Guard.__init__

    def in_degrees(self, spec, *rest):
        degrees = tuple(np.degrees(spec.velocity_rad_s).tolist())
        init(self, msgspec.structs.replace(spec, velocity_rad_s=degrees), *rest)

    with patch.object(Guard, "__init__", in_degrees):
        yield


@bug("not_held", "limit_acceleration", "limit_velocity")
def guard_skipped_on_fallback():
    limit = Guard.limit

    def trusting(self, wish, position, torque):
        if wish is not None:
            return limit(self, wish, position, torque)
        return np.append(position, self.setpoint[-1]), Limit.NONE

    with patch.object(Guard, "limit", trusting):
        yield


@bug("backlog_bounded")
def queue_unbounded():
    init = Uplink.__init__

    def begin(self, *arguments):
        init(self, *arguments)
        self._backlog_max = 10**9

    with patch.object(Uplink, "__init__", begin):
        yield


@bug("name_reused", "altered", "acked_lost")
def id_reused_after_reboot():
    def again(site, name, _boot):
        return processes.device(site, name, 1)

    with patch.dict(stack._MAKE, {"device": again}):
        yield


@bug("tick_replayed")
def tick_replayed_after_overrun():
    def tick(self, now_ns):
        late_ns = max(0, now_ns - self.deadline_ns)
        self.ticks += 1
        self.deadline_ns += self.period_ns
        return late_ns

    with patch.object(Rate, "tick", tick):
        yield


@bug("stale_action")
def hold_entered_late():
    def valid(self, now_ns):
        return now_ns <= self.chunk.valid_until_ns + 40 * NS_PER_MS

    with patch.object(ChunkPlan, "valid", valid), _last_row_for_ever():
        yield


@bug("version_regress")
def rollback_not_recorded():
    def rollback(self, version=None):
        kept = journal.stack(self._journal)
        if len(kept) < 2 or version is not None:
            return original(self, version)
        self._active = self._load(kept[-2].digest)
        return self._active

    original = Shelf.rollback
    with patch.object(Shelf, "rollback", rollback):
        yield
