"""The end of a run holds no second copy of what lies on the disk, whatever the run came to."""

import tracemalloc
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from records import S, fill, recorded, report, row

from tierloop.cloud.store import Datum, Store
from tierloop.contract.codec import digest64
from tierloop.contract.messages import SegmentId
from tierloop.stack.record.audit import audit
from tierloop.stack.record.books import holdings
from tierloop.stack.record.disks import CLOUD_STORE
from tierloop.stack.record.folder import load
from tierloop.views import charts

MB = 10**6
LIFE = ("arm-0", 7)


@contextmanager
def peak():
    """What Python holds at most, and at the end, beyond what it held before, in MB."""
    found = SimpleNamespace(most=0.0, kept=0.0)
    tracemalloc.start()
    try:
        yield found
    finally:
        kept, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        found.most, found.kept = most / MB, kept / MB


def test_the_audit_holds_one_body_at_a_time(tmp_path):
    (tmp_path / CLOUD_STORE).parent.mkdir(parents=True)
    store = Store(tmp_path / CLOUD_STORE)
    for first in range(0, 2000, 100):
        bodies = {n: n.to_bytes(8, "big") * 1024 for n in range(first, first + 100)}
        store.commit(
            [
                Datum(SegmentId(*LIFE, n), digest64(body), 1, (0,), "test", "spec", body, "lived")
                for n, body in bodies.items()
            ]
        )
    store.close()
    assert (tmp_path / CLOUD_STORE).stat().st_size > 16 * MB
    audit(tmp_path / "nothing", {}, 0)  # what is loaded at the first use
    with peak() as held:
        found, kept = audit(tmp_path, {LIFE: 2000}, 0), holdings(tmp_path)
    assert (found.stored, found.altered, found.missing) == (2000, 0, 0)
    assert kept[LIFE].stored == 2000
    assert held.most < 0.5


def test_what_is_kept_of_a_report_does_not_keep_its_file(tmp_path):
    late = np.zeros(30_000, np.int64).tolist()
    names = [f"arm-{n}" for n in range(8)]
    fill(tmp_path, [report(n, "device", t, lateness_ns=late) for n in names for t in range(1, 8)])
    size = sum(path.stat().st_size for path in (tmp_path / "parts").iterdir())
    assert size > 13 * MB
    with peak() as held:
        _, record = load(tmp_path)
    assert len(record.lives) == 8
    assert held.kept < 8 * 3 * 0.25 + 4, "first report and last two of each life, and histograms"


def test_a_chart_of_millions_of_ticks_is_drawn_from_counts():
    record, n = recorded([report("arm-0", "device", 1, rows=[row(0, 1.0)])]), 2 * MB
    for name in ("age", "first_use", "lateness"):
        record.samples[name].add(0, S, np.arange(n, dtype=np.int64) * 100)
    charts.draw(charts.age_histogram(recorded([]), 400.0), charts.lateness(recorded([]), 4167.0))
    with peak() as held:
        charts.draw(charts.age_histogram(record, 400.0), charts.lateness(record, 4167.0))
    assert held.most < 5
