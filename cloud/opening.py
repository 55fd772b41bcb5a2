"""Opens the store of the cloud, and tries again while the disk refuses: it holds the only copy."""

import sqlite3
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec

from tierloop.cloud.config import CLOUD
from tierloop.cloud.lineage import PolicyRecord
from tierloop.cloud.store import Store
from tierloop.contract.account import Account
from tierloop.contract.clock import Clock
from tierloop.link.reports import ReportSource

RETRY_S = 1.0
WAITING = "waiting for its disk"


def opened(
    path: Path,
    begin: Callable[[], PolicyRecord | None],
    boot: int,
    clock: Clock,
    reporter: ReportSource | None,
    pause: Callable[[float], None] = time.sleep,
) -> tuple[Store, PolicyRecord | None]:
    """The store and its newest release, once both can be had.

    Where the store has none, what `begin` gives becomes the first; it is asked once at most. A
    full, read-only or damaged disk is told in one line, on the log and on record, when it is first
    met and when its words change. Raises UserError for another version's store, and whatever
    `begin` raises.
    """
    account, told, once = Account(), "", cache(begin)
    while True:
        try:
            store = Store(path)
            try:
                newest = store.policies.newest()
                if newest is None and (newest := once()) is not None:
                    store.policies.record(newest)
                return store, newest
            except BaseException:
                store.close()
                raise
        except (OSError, sqlite3.Error, msgspec.MsgspecError, RuntimeError) as error:
            why = f"{path}: {error}; nothing is stored or learnt until it can be opened"
        now_ns = clock.now_ns()
        if why != told:
            told = why
            print(why, flush=True)
            account.event(now_ns, "store_failed", why)
        if reporter is not None:
            reporter.send(account.report(CLOUD, boot, now_ns, {}, {"phase": WAITING}))
        pause(RETRY_S)
