"""Store and forward, with a cloud and a disk that fail in every way they may."""

import random
import sqlite3
import zlib

import msgspec
import numpy as np
import pytest
from edge_bench import WELCOME, Bench, S, hello, observation, outcome, seal, sealed, segment
from hypothesis import given, settings
from hypothesis import strategies as st

from tierloop.contract.codec import digest64
from tierloop.contract.messages import ActionChunk, Sealed, Stored, Welcome
from tierloop.edge.config import EdgeConfig
from tierloop.edge.outbox import ROW_BYTES
from tierloop.edge.relay import (
    HEADER_BYTES,
    LOAD,
    RECEIPTS_MAX,
    RESEND_NS,
    SHARE_BYTES,
    WAITING_BYTES,
    WAITING_MAX,
    WINDOW,
)


@pytest.fixture
def bench(tmp_path) -> Bench:
    bench = Bench(tmp_path, 1).start()
    bench.join("arm")
    return bench


def acked(bench: Bench, device: str = "arm", boot: int = 7) -> set[int]:
    stored = {(s.below, s.also) for s in bench.to(device, Stored) if s.boot == boot}
    return {n for below, also in stored for n in (*range(below), *also)}


def upward(bench: Bench) -> list[int]:
    return [s.seq for s in bench.to("cloud", Sealed)]


def stored(*seqs: int, below: int = 0, boot: int = 7) -> Stored:
    return Stored(device="arm", boot=boot, below=below, also=seqs)


def test_a_segment_is_acknowledged_only_once_it_is_committed(bench):
    bench.hold("disk")
    assert bench.hear("arm", sealed(0)) == []
    bench.release("disk")
    assert bench.to("arm", Stored) == [stored(below=1)]


def test_what_comes_in_during_a_commit_is_the_next_group(bench):
    bench.hold("disk")
    for seq in range(5):
        bench.hear("arm", sealed(seq))
    assert len(bench.held["disk"]) == 1
    bench.release("disk")
    assert bench.to("arm", Stored) == [stored(below=1), stored(below=5)]


def test_a_segment_that_comes_twice_is_stored_once_and_acknowledged_twice(bench):
    for _ in range(3):
        bench.hear("arm", sealed(0))
    assert bench.to("arm", Stored) == [stored(below=1)] * 3
    counters = bench.counters()
    assert (counters["stored"], counters["duplicates"], counters["segments_in"]) == (1, 2, 3)


def test_a_segment_that_comes_again_after_it_went_up_is_known(bench):
    bench.hear("cloud", WELCOME)
    bench.hear("arm", sealed(0))
    bench.hear("cloud", stored(below=1))
    assert bench.node.relay.standing.rows == 0
    assert bench.hear("arm", sealed(0)) == [stored(below=1)]
    assert upward(bench) == [0]
    assert bench.counters()["forwarded"] == 1


def test_a_gap_is_acknowledged_around(bench):
    bench.hear("arm", sealed(0))
    bench.hear("arm", sealed(2))
    assert bench.to("arm", Stored)[-1] == stored(2, below=1)
    bench.hear("arm", sealed(1))
    assert bench.to("arm", Stored)[-1] == stored(below=3)


def test_bytes_that_are_not_what_was_sealed_are_not_acknowledged(bench):
    good = sealed(0)
    body = good.body.copy()
    body[5] ^= 1
    assert bench.hear("arm", msgspec.structs.replace(good, body=body)) == []
    assert bench.counters()["refused.digest"] == 1
    assert bench.hear("arm", good) == [stored(below=1)]


def test_what_is_no_segment_is_acknowledged_and_holds_nothing_up(bench):
    bench.hear("cloud", WELCOME)
    assert bench.hear("arm", seal(hello(), seq=0)) == [stored(below=1)]
    bench.hear("arm", sealed(1))
    assert upward(bench) == [1]
    assert bench.counters()["refused.not_a_segment"] == 1
    assert bench.hear("arm", seal(hello(), seq=0)) == [stored(below=2)]


def test_a_segment_no_device_would_send_is_refused(bench):
    assert bench.hear("arm", msgspec.structs.replace(sealed(0), deflated=True)) == []
    assert bench.counters()["refused.misfit"] == 1
    assert bench.hear("arm", sealed(0)) == [stored(below=1)]


def test_a_segment_of_another_device_or_boot_is_refused(bench):
    assert bench.hear("arm", sealed(0, device="leg")) == []
    assert bench.hear("arm", sealed(0, boot=8)) == []
    assert bench.counters()["refused.stranger"] == 2


def test_what_goes_up_is_what_was_sealed_deflated(bench):
    bench.hear("cloud", WELCOME)
    original = sealed(0, rows=50)
    bench.hear("arm", original)
    (up,) = bench.to("cloud", Sealed)
    assert up.deflated
    assert zlib.decompress(up.body) == original.body.tobytes()
    assert digest64(zlib.decompress(up.body)) == up.digest == original.digest
    counters = bench.counters()
    assert counters["segment_bytes.raw"] == len(original.body)
    assert counters["segment_bytes.deflated"] == counters["bytes_up"] == len(up.body)


def test_a_device_that_restarts_for_ever_takes_no_more_memory(bench, monkeypatch):
    monkeypatch.setattr("tierloop.edge.boots.BOOTS_MAX", 3)
    bench.hear("cloud", WELCOME)
    for boot in range(10, 30):
        bench.join("arm", boot=boot)
        bench.hear("arm", sealed(0, boot=boot))
        bench.hear("cloud", Stored(device="arm", boot=boot, below=1))
    assert set(bench.node.relay.below) == {("arm", boot) for boot in (27, 28, 29)}
    assert bench.counters()["forgotten.boots"] == 17
    assert bench.counters()["stored"] == 20


def test_a_restarted_edge_goes_on_where_it_stopped(tmp_path):
    first = Bench(tmp_path, 1).start()
    first.join("arm")
    first.hear("arm", sealed(0))
    first.hear("arm", sealed(1))
    first.outbox._db.close()
    second = Bench(tmp_path).start()
    (welcome,) = second.hear("arm", hello())
    assert isinstance(welcome, Welcome)
    assert welcome.acked == 2
    second.hear("cloud", WELCOME)
    assert upward(second) == [0, 1]
    (other,) = second.hear("leg", hello("leg"))
    assert other.acked == 0


def test_a_device_is_welcomed_once_it_is_known_what_is_stored(tmp_path):
    bench = Bench(tmp_path, 1)
    bench.hold("disk")
    bench.start()
    assert bench.hear("arm", hello()) == []
    bench.release("disk")
    assert len(bench.hear("arm", hello())) == 1


def test_only_a_window_is_under_way(bench):
    for seq in range(WINDOW + 8):
        bench.hear("arm", sealed(seq))
    bench.hear("cloud", WELCOME)
    assert upward(bench) == list(range(WINDOW))
    bench.hear("cloud", stored(3, 1))
    assert upward(bench)[WINDOW:] == [WINDOW, WINDOW + 1]


def test_after_a_reconnect_what_was_not_acknowledged_goes_up_again_first(bench):
    bench.hear("cloud", WELCOME)
    for seq in range(4):
        bench.hear("arm", sealed(seq))
    bench.hear("cloud", stored(1))
    bench.apply(bench.node.on_lost(bench.now_ns, "cloud"))
    bench.hear("arm", sealed(4))
    bench.advance(20 * S)
    assert upward(bench) == [0, 1, 2, 3]
    bench.hear("cloud", WELCOME)
    assert upward(bench)[4:] == [0, 2, 3, 4]
    assert bench.counters()["resent"] == 3


def test_a_lost_parcel_is_sent_again_by_itself(bench):
    bench.hear("cloud", WELCOME)
    bench.hear("arm", sealed(0))
    bench.advance(S)
    bench.hear("arm", sealed(1))
    bench.advance(RESEND_NS - S)
    assert upward(bench) == [0, 1, 0]
    bench.advance(S)
    assert upward(bench) == [0, 1, 0, 1]
    bench.hear("cloud", stored(below=2))
    bench.advance(10 * RESEND_NS)
    assert upward(bench) == [0, 1, 0, 1]


def test_a_narrow_uplink_carries_what_teaches_most_first_and_keeps_its_pace(tmp_path):
    bench = Bench(tmp_path, 1, config=EdgeConfig(uplink_bytes_per_s=2000)).start()
    bench.join("arm")
    worth = {
        0: {},
        1: {"seam_rad": 1.0},
        2: {"refused": {"expired": 1}},
        3: {},
        4: {"outcomes": (outcome(False),)},
        5: {"outcomes": (outcome(True),)},
        6: {"outcomes": (outcome(False),)},
    }
    for seq, changes in worth.items():
        bench.hear("arm", sealed(seq, **changes))
    bench.hear("cloud", WELCOME)
    assert upward(bench) == [4]
    began_ns = bench.now_ns
    while len(upward(bench)) < len(worth):
        before = bench.to("cloud", Sealed)
        spent_s = sum(len(s.body) + HEADER_BYTES for s in before) / 2000
        bench.advance(round(spent_s * S) - (bench.now_ns - began_ns) - 1000)
        assert len(upward(bench)) == len(before), "too early"
        bench.advance(2000)
        assert len(upward(bench)) == len(before) + 1, "too late"
    assert upward(bench) == [4, 6, 2, 1, 0, 3, 5]


def test_on_a_narrow_uplink_a_fresh_failure_overtakes_what_waits(tmp_path):
    bench = Bench(tmp_path, 1, config=EdgeConfig(uplink_bytes_per_s=2000)).start()
    bench.join("arm")
    for seq in range(4):
        bench.hear("arm", sealed(seq))
    bench.hear("cloud", WELCOME)
    bench.hear("arm", sealed(4, outcomes=(outcome(False),)))
    bench.advance(5 * S)
    assert upward(bench)[:5] == [0, 4, 1, 2, 3]


def test_what_the_cloud_has_after_all_is_not_sent_again(tmp_path):
    bench = Bench(tmp_path, 1, config=EdgeConfig(uplink_bytes_per_s=2000)).start()
    bench.join("arm")
    bench.hear("cloud", WELCOME)
    for seq in range(4):
        bench.hear("arm", sealed(seq))
    bench.advance(2 * S)
    bench.apply(bench.node.on_lost(bench.now_ns, "cloud"))
    bench.hear("cloud", WELCOME)
    assert upward(bench) == [0, 1, 2, 3, 0]
    bench.hear("cloud", stored(below=3))
    bench.advance(S)
    assert upward(bench) == [0, 1, 2, 3, 0, 3]


def test_a_failing_disk_acknowledges_nothing_and_stops_no_decision(bench):
    commit = bench.outbox.commit

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    bench.outbox.commit = full
    for seq in range(3):
        assert bench.hear("arm", sealed(seq)) == []
        assert isinstance(bench.hear("arm", observation(seq))[0], ActionChunk)
    report = bench.node.report(bench.now_ns)
    assert report.counters["outbox_failures"] == 3
    assert [e.name for e in report.events].count("outbox_failed") == 1
    bench.outbox.commit = commit
    for seq in range(3):
        bench.hear("arm", sealed(seq))
    assert acked(bench) == {0, 1, 2}


def test_what_the_cloud_has_is_deleted_after_the_disk_recovers(bench):
    bench.hear("cloud", WELCOME)
    bench.hear("arm", sealed(0))
    bench.hear("arm", sealed(1))
    settle, lend = bench.outbox.settle, bench.outbox.lend

    def broken(*_):
        raise sqlite3.OperationalError("disk I/O error")

    bench.outbox.settle = bench.outbox.lend = broken
    bench.hear("cloud", stored(0))
    bench.hear("cloud", stored(1))
    bench.hear("arm", sealed(2))
    assert bench.counters().get("forwarded", 0) == 0
    bench.outbox.settle, bench.outbox.lend = settle, lend
    bench.advance(S)
    assert bench.counters()["forwarded"] == 2
    assert upward(bench) == [0, 1, 2]


def test_an_outbox_that_does_not_open_leaves_the_edge_serving(tmp_path):
    (tmp_path / "outbox.sqlite").write_bytes(b"no database" * 100)
    bench = Bench(tmp_path, 1).start()
    bench.join("arm")
    assert isinstance(bench.hear("arm", observation(0))[0], ActionChunk)
    assert bench.hear("arm", sealed(0)) == []
    (tmp_path / "outbox.sqlite").unlink()
    assert bench.hear("arm", sealed(0)) == [stored(below=1)]


def test_a_damaged_outbox_is_kept_beside_on_record_and_the_edge_goes_on(tmp_path):
    (tmp_path / "outbox.sqlite").write_bytes(b"no database" * 100)
    bench = Bench(tmp_path, 1).start()
    bench.join("arm")
    assert bench.hear("arm", sealed(0)) == []
    bench.advance(3 * S)
    assert bench.hear("arm", sealed(0)) == [stored(below=1)]
    assert (tmp_path / "outbox.sqlite.damaged-1").read_bytes() == b"no database" * 100
    told = [e.detail for e in bench.node.report(bench.now_ns).events if e.name == "outbox_failed"]
    assert [words.partition(": ")[2] for words in told] == [
        "file is not a database",
        f"{tmp_path}/outbox.sqlite: damaged (file is not a database); "
        "kept as outbox.sqlite.damaged-1, begun anew",
    ]


def test_a_flood_is_bounded_and_what_did_not_fit_comes_again(bench):
    bench.hold("disk")
    for seq in range(WAITING_MAX + 11):
        bench.hear("arm", sealed(seq, rows=1))
    assert bench.counters()["dropped.relay_full"] == 10
    bench.release("disk")
    bench.hear("arm", *(sealed(seq, rows=1) for seq in range(WAITING_MAX + 11)))
    assert acked(bench) == set(range(WAITING_MAX + 11))
    assert bench.counters()["stored"] == WAITING_MAX + 11


def test_what_waits_is_bounded_in_bytes_for_one_device_and_in_all(bench):
    """While the disk is slow: large segments of one device leave room for the others'."""
    bench.join("leg", *map(str, range(20)))
    bench.hold("disk")
    bench.hear("arm", sealed(0))
    padded = {"body": np.zeros(250_000, np.uint8)}
    for seq in range(30):
        bench.hear("arm", sealed(seq), seal(segment(seq), **padded))
    waits = sum(len(s.body) for s in bench.node.relay._waiting if s.device == "arm")
    assert SHARE_BYTES - 300_000 < waits <= SHARE_BYTES
    assert bench.counters()["dropped.relay_share"] > 10
    bench.hear("leg", sealed(0, "leg"))
    assert [s.device for s in bench.node.relay._waiting][-1] == "leg"
    for device in map(str, range(20)):
        for seq in range(20):
            bench.hear(device, seal(segment(seq, device), **padded))
    assert sum(len(s.body) for s in bench.node.relay._waiting) <= WAITING_BYTES
    assert bench.counters()["dropped.relay_full"] > 10


def test_receipts_that_a_failing_disk_cannot_take_are_asked_for_again(bench):
    bench.hear("cloud", WELCOME)
    for seq in range(3):
        bench.hear("arm", sealed(seq))
    bench.hold("disk")
    for _ in range(RECEIPTS_MAX + 10):
        bench.hear("cloud", Stored(device="arm", boot=6, below=1))
    bench.hear("cloud", stored(below=3))
    assert bench.counters()["dropped.receipt"] == 10
    bench.release("disk")
    bench.advance(RESEND_NS)
    assert upward(bench)[3:] == [0, 1, 2]
    bench.hear("cloud", stored(below=3))
    assert bench.counters()["forwarded"] == 3


def test_over_its_quota_the_outbox_sheds_and_says_what(tmp_path):
    bench = Bench(tmp_path, 1, config=EdgeConfig(outbox_mb=0.005)).start()
    bench.join("arm")
    for seq in range(12):
        failed = (outcome(False),) if seq < 3 else ()
        bench.hear("arm", sealed(seq, outcomes=failed))
    assert acked(bench) == set(range(12))
    counters = bench.counters()
    standing = bench.node.relay.standing
    assert standing.bytes + standing.rows * ROW_BYTES <= 5000
    assert counters["shed.routine"] == 12 - standing.rows
    bench.hear("cloud", WELCOME)
    assert upward(bench)[:3] == [0, 1, 2]


class Cloud:
    """Stores what comes up and says so, unless the link loses it."""

    def __init__(self, rng: random.Random, loss: float) -> None:
        self.rng, self.loss = rng, loss
        self.store: dict[tuple, bytes] = {}

    def answer(self, message: Sealed) -> Stored | None:
        if self.rng.random() < self.loss:
            return None
        body = zlib.decompress(message.body)
        assert digest64(body) == message.digest
        key = (message.device, message.boot, message.seq)
        assert self.store.setdefault(key, body) == body, "altered"
        if self.rng.random() < self.loss:
            return None
        return Stored(device=key[0], boot=key[1], below=0, also=(key[2],))


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.floats(0, 0.5), st.booleans())
def test_everything_acknowledged_reaches_the_cloud_once_through_loss_and_crashes(
    tmp_path_factory, seed, loss, narrow
):
    rng = random.Random(seed)
    directory = tmp_path_factory.mktemp("edge")
    config = EdgeConfig(uplink_bytes_per_s=5e4 if narrow else 0)
    sent = {seq: sealed(seq, rows=2, seam_rad=rng.random() / 10) for seq in range(40)}
    cloud, bench, acknowledged = Cloud(rng, loss), None, set()
    for step in range(400):
        if bench is None or rng.random() < 0.02:
            if bench is not None:
                bench.outbox._db.close()
            bench, answered = Bench(directory, config=config).start(), 0
            bench.join("arm")
            bench.hear("cloud", WELCOME)
        if step < 300 and rng.random() < 0.5:
            seq = rng.choice([n for n in sent if n not in acknowledged] or list(sent))
            bench.hear("arm", sent[seq])
        if rng.random() < 0.05:
            bench.apply(bench.node.on_lost(bench.now_ns, "cloud"))
            bench.hear("cloud", WELCOME)
        bench.advance(S // 10)
        acknowledged |= acked(bench)
        parcels = bench.to("cloud", Sealed)
        for message in parcels[answered:]:
            if receipt := cloud.answer(message):
                bench.hear("cloud", receipt)
        answered = len(parcels)
    cloud.loss = 0
    for _ in range(20):
        bench.advance(RESEND_NS)
        parcels = bench.to("cloud", Sealed)
        for message in parcels[answered:]:
            bench.hear("cloud", cloud.answer(message))
        answered = len(parcels)
    assert bench.node.relay.standing.rows == 0
    assert acknowledged == {seq for _, _, seq in cloud.store}
    for (_, _, seq), body in cloud.store.items():
        assert np.array_equal(np.frombuffer(body, np.uint8), sent[seq].body)
    assert acknowledged
    before = len(parcels)
    for seq in acknowledged:
        bench.hear("arm", sent[seq])
    bench.advance(10 * RESEND_NS)
    assert len(bench.to("cloud", Sealed)) == before, "known segments do not go up again"


def test_an_outbox_that_could_not_be_read_at_first_is_read_later(tmp_path):
    """What waits in it goes up although no device commits anything new."""
    before = Bench(tmp_path).start()
    before.join("arm")
    before.hear("arm", sealed(0))
    before.outbox.close()
    bench = Bench(tmp_path)
    bench.carry = lambda compute: (
        sqlite3.OperationalError("locked") if compute.name == LOAD else compute.job()
    )
    bench.start()
    bench.hear("cloud", WELCOME)
    assert not [m for m in bench.advance(2 * S) if isinstance(m, Sealed)]
    bench.carry = lambda compute: compute.job()
    assert [m.seq for m in bench.advance(2 * S) if isinstance(m, Sealed)] == [0]
