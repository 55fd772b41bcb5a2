"""Twelve bugs to plant, each a patch of production code that only tests apply.

`BUGS` maps a name to the patch and to what the fuzzer must call it. `python tests/fuzz/bugs.py`
plants each in turn and prints what found it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
import numpy as np

from tierloop.benchmarks.rig import markdown
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
from tierloop.fuzz.session import fuzz
from tierloop.policy import journal
from tierloop.policy.shelf import Shelf
from tierloop.stack.virtual import processes, stack

Patch = Callable[[], AbstractContextManager[Any]]


class Bug(NamedTuple):
    """A patch, the promises it may break, and the seed of a short run that finds it."""

    plant: Patch
    breaks: frozenset[str]
    seed: int


BUGS: dict[str, Bug] = {}


def bug(seed: int, *breaks: str) -> Callable[[Callable[[], Iterator[None]]], None]:
    def enter(function: Callable[[], Iterator[None]]) -> None:
        BUGS[function.__name__] = Bug(contextmanager(function), frozenset(breaks), seed)

    return enter


@bug(3, "acked_lost", "nothing_acked_lost")
def acknowledge_before_commit():
    take = Relay.take

    def eager(self, sealed):
        done = Stored(device=sealed.device, boot=sealed.boot, below=0, also=(sealed.seq,))
        return [Send(sealed.device, done), *take(self, sealed)]

    with patch.object(Relay, "take", eager):
        yield


@bug(30, "stored_twice", "exactly_once")
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


@bug(60, "stale_action")
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


@bug(27, "not_updated")
def version_compare_wrong():
    offer = Releases.offer

    def by_words(self, now_ns, made):
        if self.live is not None and str(made.version) <= str(self.live.policy.version):
            return self._status()
        return offer(self, now_ns, made)

    with patch.object(Releases, "offer", by_words):
        yield


@bug(142, "row_due")
def chunk_not_anchored():
    init = Arbiter.__init__

    def begin(self, *arguments, **named):
        init(self, *arguments, **named)
        self._at_arrival = True

    with patch.object(Arbiter, "__init__", begin):
        yield


@bug(142, "limit_velocity")
def unit_swap():
    init = Guard.__init__

    def in_degrees(self, spec, *rest):
        degrees = tuple(np.degrees(spec.velocity_rad_s).tolist())
        init(self, msgspec.structs.replace(spec, velocity_rad_s=degrees), *rest)

    with patch.object(Guard, "__init__", in_degrees):
        yield


@bug(60, "not_held", "limit_acceleration", "limit_velocity")
def guard_skipped_on_fallback():
    limit = Guard.limit

    def trusting(self, wish, position, torque):
        if wish is not None:
            return limit(self, wish, position, torque)
        return np.append(position, self.setpoint[-1]), Limit.NONE

    with patch.object(Guard, "limit", trusting):
        yield


@bug(112, "backlog_bounded")
def queue_unbounded():
    init = Uplink.__init__

    def begin(self, *arguments):
        init(self, *arguments)
        self._backlog_max = 10**9

    with patch.object(Uplink, "__init__", begin):
        yield


@bug(36, "name_reused", "altered", "acked_lost")
def id_reused_after_reboot():
    def again(site, name, _boot):
        return processes.device(site, name, 1)

    with patch.dict(stack._MAKE, {"device": again}):
        yield


@bug(60, "tick_replayed")
def tick_replayed_after_overrun():
    def tick(self, now_ns):
        late_ns = max(0, now_ns - self.deadline_ns)
        self.ticks += 1
        self.deadline_ns += self.period_ns
        return late_ns

    with patch.object(Rate, "tick", tick):
        yield


@bug(60, "stale_action")
def hold_entered_late():
    def valid(self, now_ns):
        return now_ns <= self.chunk.valid_until_ns + 40 * NS_PER_MS

    with patch.object(ChunkPlan, "valid", valid), _last_row_for_ever():
        yield


@bug(123, "version_regress")
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


def found(name: str, bug: Bug) -> tuple[str, ...]:
    """What its seed finds of a bug, as a row of docs/fuzz.md."""
    with bug.plant():
        broken = {*fuzz(bug.seed, "both", "analytic").found} & bug.breaks
    return name.replace("_", " "), f"{bug.seed}", ", ".join(f"`{word}`" for word in sorted(broken))


if __name__ == "__main__":
    heads = ("planted bug", "found at seed", "by")
    print(markdown.table(heads, (found(name, bug) for name, bug in BUGS.items())))
