"""Where each stored segment came from and when the cloud had it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tierloop.contract.codec import Codec
from tierloop.contract.messages import Segment
from tierloop.contract.reading import reading
from tierloop.stack.record.disks import CLOUD_STORE
from tierloop.stack.record.stores import opened


class Journey(NamedTuple):
    """A segment: its first and last capture, and the commit in the cloud."""

    device: str
    seq: int
    first_ns: int
    last_ns: int
    stored_ns: int


def journeys(out: Path) -> Iterator[Journey]:
    """The segments in the cloud's store, in order; none if it is not on this host."""
    path = out / CLOUD_STORE
    if not path.exists():
        return
    codec = Codec()
    query = "SELECT device, seq, received_ns, body FROM segments ORDER BY id"
    with reading(path, "leave out --trace to replay without the store"), opened(path) as store:
        for device, seq, stored_ns, body in store.execute(query):
            segment = codec.decode(body)
            if isinstance(segment, Segment) and len(segment.captured_ns):
                captured_ns = segment.captured_ns
                yield Journey(device, seq, int(captured_ns[0]), int(captured_ns[-1]), stored_ns)
