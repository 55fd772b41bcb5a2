"""What the tiers left on the disks under a record's folder, read without changing a row.

SQLite may make its index of the log (`-shm`) beside a store that a killed process left open.
"""

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from tierloop.cloud import store_view
from tierloop.cloud.scratch import in_memory
from tierloop.cloud.store import STORE_FILE
from tierloop.cloud.store_view import StoredRelease
from tierloop.contract.codec import Codec
from tierloop.contract.errors import UserError
from tierloop.contract.messages import Segment
from tierloop.contract.reading import Unreadable, reading
from tierloop.edge.outbox import OUTBOX_FILE
from tierloop.policy.journal import JOURNAL_FILE

CLOUD_STORE = Path("state/cloud") / STORE_FILE
EDGE_OUTBOX = Path("state/edge") / OUTBOX_FILE
EDGE_JOURNAL = Path("state/edge/policies") / JOURNAL_FILE

LOCK_WAIT_S = 1.0

T = TypeVar("T")
Query = Callable[[sqlite3.Connection], Iterable[T]]
"""A question to a store, as the tier that owns it asks it: see store_view and outbox_view."""


def read(path: Path, view: Query[T]) -> Iterator[T]:
    """What the view finds in a store, a row at a time; nothing where there is none, or no table.

    Raises UserError if a running tier holds the store, Unreadable; also after some rows.
    """
    if not path.exists():
        return
    with reading(path, "damaged, or written by another version of tierloop"):
        try:
            with opened(path) as store:
                yield from view(store)
        except sqlite3.OperationalError as error:
            if not str(error).startswith("no such table"):
                raise


def releases(out: Path) -> list[StoredRelease]:
    """The policies released in a run, by version; none where the store cannot be read."""
    try:
        return list(read(out / CLOUD_STORE, store_view.releases))
    except Unreadable:  # the audit tells it
        return []


class Journey(NamedTuple):
    """A segment: its first and last capture, and the commit in the cloud."""

    device: str
    seq: int
    first_ns: int
    last_ns: int
    stored_ns: int


def journeys(out: Path) -> Iterator[Journey]:
    """The segments in the cloud's store, in order; none if it is not on this host.

    Raises UserError if a running tier holds the store, Unreadable.
    """
    path = out / CLOUD_STORE
    if not path.exists():
        return
    codec = Codec()
    with reading(path, "leave out --trace to replay without the store"), opened(path) as store:
        for stored in store_view.every_segment(store):
            segment = codec.decode(stored.body)
            if isinstance(segment, Segment) and len(segment.captured_ns):
                first_ns, last_ns = int(segment.captured_ns[0]), int(segment.captured_ns[-1])
                device, _, seq = stored.key
                yield Journey(device, seq, first_ns, last_ns, stored.received_ns)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads. Raises UserError for a store in use, sqlite3.Error, OSError.

    What a killed process left in its log beside the store is read with it: where it lies if the
    disk lets SQLite do so, else from a copy.
    """
    log = path.with_name(f"{path.name}-wal")
    if not log.exists():
        with contextlib.closing(_connect(path, "&immutable=1")) as store:
            yield store
        return
    with contextlib.ExitStack() as ends:
        try:
            store = ends.enter_context(contextlib.closing(_connect(path)))
            store.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise UserError(f"{path}: {error}; is the run still going?") from None
            scratch = ends.enter_context(contextlib.closing(in_memory()))
            for one in (path, log):
                shutil.copyfile(one, scratch.path / one.name)
            copy = sqlite3.connect(scratch.path / path.name)
            store = ends.enter_context(contextlib.closing(copy))
        yield store


def _connect(path: Path, more: str = "") -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{more}", LOCK_WAIT_S, uri=True)
