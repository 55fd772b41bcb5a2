"""The store keeps every datum once, and all that it has acknowledged, whatever happens."""

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierloop.cloud.lineage import PolicyRecord, SegmentRange, ranges
from tierloop.cloud.store import Datum, Misfit, Store
from tierloop.contract.messages import SegmentId

ROOT = Path(__file__).parents[2]


def datum(seq, digest=1, device="arm-0", boot=7, source="lived"):
    return Datum(SegmentId(device, boot, seq), digest, 5, (1, 2), "1", "abcd", b"body", source)


def policy(version, state="released", data=()):
    return PolicyRecord(version, f"d{version}", (), state, {"p": 0.5}, b"blob", tuple(data))


def test_the_file_is_durable(store):
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_datum_is_stored_once_and_its_double_counted(store):
    assert store.commit([datum(0), datum(1)])[:2] == (2, 0)
    done = store.commit([datum(1), datum(2), datum(2)])
    assert done[:2] == (1, 2)
    assert done.altered == ()
    assert [key.seq for _, key, _, _ in store.experience(0)] == [0, 1, 2]


def test_other_bytes_under_a_known_name_are_told_and_change_nothing(store):
    store.commit([datum(0, digest=1)])
    done = store.commit([datum(0, digest=2)._replace(body=b"other")])
    assert done.altered == (SegmentId("arm-0", 7, 0),)
    assert done.fresh == done.duplicate == 0
    assert [body for _, _, _, body in store.experience(0)] == [b"body"]


def test_a_misfit_is_kept_by_name_once_and_does_not_shut_out_the_right_datum(store):
    misfit = Misfit(SegmentId("arm-0", 7, 0), 9, 5, "digest")
    assert store.commit([], [misfit]).refused == (misfit,)
    again = store.commit([], [misfit])
    assert again.refused == ()
    assert again.duplicate == 1
    assert store.commit([datum(0)]).fresh == 1


def test_contiguous_counts_what_is_stored_or_refused_and_stops_at_a_gap(store):
    store.commit([datum(0), datum(2), datum(4)], [Misfit(SegmentId("arm-0", 7, 1), 1, 5, "spec")])
    assert store.contiguous("arm-0", 7) == 3
    store.commit([datum(3)])
    assert store.contiguous("arm-0", 7, 3) == 5
    assert store.contiguous("arm-0", 8) == store.contiguous("arm-1", 7) == 0


def test_a_failed_commit_keeps_nothing_of_its_batch(store):
    store.commit([datum(0)])
    store._db.execute("PRAGMA max_page_count=20")
    big = [datum(seq)._replace(body=bytes(100_000)) for seq in range(1, 5)]
    with pytest.raises(sqlite3.Error, match="full"):
        store.commit(big)
    assert store.contiguous("arm-0", 7) == 1
    store._db.execute("PRAGMA max_page_count=100000")
    assert store.commit(big).fresh == 4


def test_lineage_reads_both_ways(store):
    store.policies.record(policy(0))
    store.policies.record(
        policy(1, data=[SegmentRange("arm-0", 7, 0, 3), SegmentRange("arm-0", 7, 5, 6)])
    )
    store.policies.record(policy(2, "refused", [SegmentRange("arm-0", 7, 0, 8)]))
    assert store.policies.data_of(1) == (
        SegmentRange("arm-0", 7, 0, 3),
        SegmentRange("arm-0", 7, 5, 6),
    )
    assert (
        store.policies.policies_of(SegmentId("arm-0", 7, 3))
        == store.policies.policies_of(SegmentId("arm-0", 7, 5))
        == (1, 2)
    )
    assert store.policies.policies_of(SegmentId("arm-0", 7, 4)) == (2,)
    assert store.policies.policies_of(SegmentId("arm-0", 8, 3)) == ()


def test_the_newest_release_is_not_a_refused_candidate_and_numbers_go_on(store):
    assert store.policies.newest() is None
    assert store.policies.next_version() == 0
    record = policy(1, data=[SegmentRange("arm-0", 7, 0, 3)])
    for entry in (policy(0), record, policy(2, "refused")):
        store.policies.record(entry)
    assert store.policies.newest() == record
    assert store.policies.next_version() == 3
    with pytest.raises(sqlite3.IntegrityError):
        store.policies.record(policy(1))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 12))))
def test_spans_hold_exactly_their_keys(triples):
    keys = [SegmentId(*triple) for triple in triples]
    found = ranges(keys)
    held = [SegmentId(s.device, s.boot, n) for s in found for n in range(s.first, s.last + 1)]
    assert held == sorted(set(keys))
    assert all(a[:2] != b[:2] or a.last + 1 < b.first for a, b in itertools.pairwise(found))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 15), max_size=6), max_size=8))
def test_any_order_of_doubles_ends_in_each_once(tmp_path_factory, batches):
    store = Store(tmp_path_factory.mktemp("store") / "s.sqlite")
    sent = [seq for batch in batches for seq in batch]
    done = [store.commit([datum(seq) for seq in batch]) for batch in batches]
    assert sum(d.fresh for d in done) == len(set(sent))
    assert sum(d.duplicate for d in done) == len(sent) - len(set(sent))
    assert sorted(k.seq for _, k, _, _ in store.experience(0)) == sorted(set(sent))
    store.close()


WRITER = """
import sys
from pathlib import Path
from tierloop.contract.messages import SegmentId
from tierloop.cloud.store import Datum, Store

store, seq = Store(Path(sys.argv[1])), int(sys.argv[2])
while True:
    keys = [SegmentId("arm-0", 7, seq + i) for i in range(5)]
    store.commit([Datum(k, k.seq + 1, 5, (), "1", "s", b"x" * 2000) for k in keys])
    seq += 5
    print(seq, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path):
    path, acked = tmp_path / "store.sqlite", 0
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(path), str(acked)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        acked = int(writer.stdout.readline())
        time.sleep(0.05)
        os.kill(writer.pid, signal.SIGKILL)
        acked = int((writer.stdout.read().split() or [acked])[-1])
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
        store = Store(path)
        assert store.contiguous("arm-0", 7) >= acked
        assert all(body == b"x" * 2000 for _, _, _, body in store.experience(0))
        assert store.commit([datum(0, digest=1)]).duplicate == 1
        store.close()
    assert acked >= 20
