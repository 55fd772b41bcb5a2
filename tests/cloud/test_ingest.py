"""Ingest takes each segment once and says why it refuses what can never fit."""

import sqlite3
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierloop.cloud.experience import read
from tierloop.cloud.ingest import BODY_MAX, Ingest
from tierloop.cloud.lineage import SegmentRange, ranges
from tierloop.cloud.store import Store
from tierloop.contract.codec import Codec, digest64
from tierloop.contract.messages import ALSO_MAX, Beat, SegmentId

ROBOTS = ("arm-0", "arm-1", "arm-9")


@pytest.fixture
def ingest(store, spec):
    return Ingest(store, spec, ROBOTS)


@pytest.mark.parametrize("deflated", [False, True])
def test_a_segment_is_stored_as_it_was_sealed(store, ingest, spec, make_segment, seal, deflated):
    segment = make_segment()
    done = ingest.take([seal(segment, deflated)], 5)
    assert done.counts == {"ingested": 1}
    assert done.notes == ()
    assert [(a.device, a.boot, a.below, a.also) for a in done.acks] == [("arm-0", 7, 1, ())]
    experience = read(store, spec, 0)
    np.testing.assert_array_equal(experience.features, segment.features)
    assert experience.keys == (SegmentId("arm-0", 7, 0),)
    assert experience.samples == {"lived": 3, "twin": 0}


def test_doubles_are_acknowledged_and_counted(ingest, make_segment, seal):
    ingest.take([seal(make_segment())], 5)
    done = ingest.take([seal(make_segment()), seal(make_segment(), deflated=True)], 6)
    assert done.counts == {"duplicate": 2}
    assert done.acks[0].below == 1


def test_another_digest_under_a_known_name_is_told(ingest, make_segment, seal):
    ingest.take([seal(make_segment())], 5)
    done = ingest.take([seal(make_segment(rows=4))], 6)
    assert done.counts == {"altered": 1}
    assert done.notes == (("altered", "arm-0 boot 7 segment 0 came again with other bytes"),)


def test_acks_name_what_lies_above_a_gap_and_only_this_batch(ingest, make_segment, seal):
    seals = [seal(make_segment(seq)) for seq in range(6)]
    assert ingest.take([seals[3], seals[0]], 1).acks[0].also == (3,)
    ack = ingest.take([seals[5], seals[1]], 2).acks[0]
    assert (ack.below, ack.also) == (2, (5,))
    ack = ingest.take([seals[2], seals[4]], 3).acks[0]
    assert (ack.below, ack.also) == (6, ())


def test_a_long_list_above_a_gap_is_acknowledged_in_parts(ingest, make_segment, seal):
    seqs = range(1, ALSO_MAX + 3)
    acks = ingest.take([seal(make_segment(seq, rows=1)) for seq in seqs], 1).acks
    assert [len(a.also) for a in acks] == [ALSO_MAX, 2]
    assert [n for a in acks for n in a.also] == list(seqs)
    assert all(Codec().encode(ack) for ack in acks)


def _bomb(seal, segment):
    return seal(
        segment, body=np.frombuffer(zlib.compress(bytes(200_000_000)), np.uint8), deflated=True
    )


def _trailing(seal, segment):
    body = zlib.compress(Codec().encode(segment)) + b"more"
    return seal(segment, body=np.frombuffer(body, np.uint8), deflated=True)


def _packed(seal, segment, body):
    return seal(segment, body=np.frombuffer(body, np.uint8), digest=digest64(body))


def _with(array, at, value):
    changed = array.copy()
    changed[at] = value
    return changed


def _summed(data: bytes) -> bytes:
    return data + zlib.crc32(data).to_bytes(4, "little")


MISFITS = {
    "digest": lambda seal, make: seal(make(), digest=3),
    "oversize": lambda seal, make: _bomb(seal, make()),
    "deflate": lambda seal, make: (
        seal(make(), deflated=False)
        and seal(make(), body=np.frombuffer(b"no zlib", np.uint8), deflated=True)
    ),
    "deflate ": lambda seal, make: _trailing(seal, make()),
    "deflate  ": lambda seal, make: seal(
        make(), body=seal(make(), deflated=True).body[:-5], deflated=True
    ),
    "spec": lambda seal, make: seal(make(spec="0123456789abcdef")),
    "shape": lambda seal, make: seal(make(features=np.zeros((3, 9), np.float32))),
    "shape ": lambda seal, make: seal(make(applied=np.zeros((3, 9), np.float32))),
    "not_finite": lambda seal, make: seal(make(features=_with(make().features, (1, 2), np.nan))),
    "not_a_segment": lambda seal, make: _packed(
        seal, make(), Codec().encode(Beat(seq=1, sent_ns=1))
    ),
    "truncated": lambda seal, make: _packed(seal, make(), b"\xff\xff"),
    "damaged": lambda seal, make: _packed(seal, make(), b"\x04\0\0\0junk"),
    "malformed": lambda seal, make: _packed(seal, make(), _summed(b"\x04\0\0\0junk")),
    "stranger": lambda seal, make: seal(make(device="evil")),
    "stranger ": lambda seal, make: seal(make(device="evil"), digest=3),
    "absurd": lambda seal, make: seal(make(features=_with(make().features, (2, 1), 4.2))),
    "absurd ": lambda seal, make: seal(make(applied=_with(make().applied, (1, 0), -4.2))),
    "absurd  ": lambda seal, make: seal(make(applied=_with(make().applied, (1, 1), 1.05))),
    "stamps": lambda seal, make: seal(make(captured_ns=np.array([3, 2, 4]))),
    "stamps ": lambda seal, make: seal(make(captured_ns=np.array([-1, 2, 4]))),
    "stamps  ": lambda seal, make: seal(make(captured_ns=np.array([1, 2, 2**62]))),
    "stamps   ": lambda seal, make: seal(make(age_ns=np.array([1, -2, 2]))),
    "stamps    ": lambda seal, make: seal(make(age_ns=np.array([1, 2, 10**12]))),
    "stamps     ": lambda seal, make: seal(make(versions=np.array([1, 1, -2]))),
    "empty": lambda seal, make: _packed(seal, make(), b""),
}


@pytest.mark.parametrize("name", [{"device": "arm-1"}, {"seq": 4}, {"boot": 8}])
def test_what_goes_by_anothers_name_is_counted_and_acknowledges_nothing(
    store, ingest, make_segment, seal, name
):
    done = ingest.take([seal(make_segment(), **name), seal(make_segment(device="arm-9"))], 5)
    assert done.counts == {"ingested": 1, "refused.name": 1}
    assert [(a.device, a.below, a.also) for a in done.acks] == [("arm-9", 1, ())]


@pytest.mark.parametrize("reason", MISFITS)
def test_what_can_never_fit_is_refused_acknowledged_and_told(
    store, ingest, make_segment, seal, reason
):
    sealed = MISFITS[reason](seal, make_segment)
    reason = reason.strip()
    good = seal(make_segment(device="arm-9"))
    done = ingest.take([sealed, good], 5)
    assert done.counts == {"ingested": 1, f"refused.{reason}": 1}
    name = f"{sealed.device} boot {sealed.boot} segment {sealed.seq}"
    assert done.notes == (("segment_refused", f"{name}: {reason}"),)
    acked = {(a.device, a.boot, n) for a in done.acks for n in (*range(a.below), *a.also)}
    assert (sealed.device, sealed.boot, sealed.seq) in acked
    assert len(store.experience(0)) == 1
    assert ingest.take([sealed], 6).counts == {"duplicate": 1}


def test_what_honest_sensors_do_is_taken(ingest, make_segment, seal):
    """Values at their limits, rounded; a joint held outside the policy's range; a silent sensor."""
    edges = np.array([[4.0000005, -4.0, 4.0]] * 3, np.float32)
    honest = make_segment(
        features=edges, applied=np.array([[3.9, 1.0]] * 3, np.float32),
        captured_ns=np.array([5, 5, 5]), age_ns=np.array([-1, 0, 10**9]),
        versions=np.array([-1, 0, 3]),
    )  # fmt: skip
    assert ingest.take([seal(honest)], 5).counts == {"ingested": 1}


def test_refused_rows_are_bounded_and_what_is_beyond_is_acknowledged(
    store, make_segment, seal, spec, monkeypatch
):
    monkeypatch.setattr("tierloop.cloud.store.REFUSED_ROWS_MAX", 3)
    ingest = Ingest(store, spec, ROBOTS)
    for batch in range(3):
        seals = [seal(make_segment(2 * batch + n, "evil")) for n in range(2)]
        done = ingest.take(seals, 5)
        assert done.counts == {"refused.stranger": 2}
        acked = {n for a in done.acks for n in (*range(a.below), *a.also)}
        assert acked >= {2 * batch, 2 * batch + 1}
    assert store._db.execute("SELECT COUNT(*) FROM refused").fetchone() == (3,)
    assert Store(Path(store._db.execute("PRAGMA database_list").fetchone()[2]))._refused == 3


def test_boots_without_number_leave_nothing_in_memory(ingest, make_segment, seal, monkeypatch):
    monkeypatch.setattr("tierloop.cloud.ingest.BOOTS_MAX", 4)
    for boot in range(20):
        ack = ingest.take([seal(make_segment(boot=boot))], 5).acks[0]
        assert ack.below == 1
    assert len(ingest._below) == 4
    assert ingest.take([seal(make_segment(1, boot=0))], 5).acks[0].below == 2


def test_a_bomb_is_not_unpacked(ingest, make_segment, seal, monkeypatch):
    inflated = []
    honest = zlib.decompressobj

    class Watched:
        def __init__(self):
            self._inner = honest()

        def decompress(self, data, cap):
            body = self._inner.decompress(data, cap)
            inflated.append(len(body))
            return body

        def __getattr__(self, name):
            return getattr(self._inner, name)

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    ingest.take([_bomb(seal, make_segment())], 5)
    assert inflated == [BODY_MAX]


def test_segments_of_outcomes_alone_are_kept(ingest, make_segment, seal):
    assert ingest.take([seal(make_segment(rows=0))], 5).counts == {"ingested": 1}


def test_a_failed_commit_acknowledges_nothing_and_a_resend_heals(store, ingest, make_segment, seal):
    batch = [seal(make_segment(seq)) for seq in range(3)]
    store._db.execute("PRAGMA query_only=ON")
    with pytest.raises(sqlite3.Error):
        ingest.take(batch, 5)
    store._db.execute("PRAGMA query_only=OFF")
    done = ingest.take(batch, 6)
    assert done.counts == {"ingested": 3}
    assert done.acks[0].below == 3


def test_twin_segments_count_as_twin(store, ingest, spec, make_segment):
    ingest.keep([make_segment(device="twin", rows=5), make_segment(1, device="twin", rows=2)], 5)
    experience = read(store, spec, 0)
    assert experience.samples == {"lived": 0, "twin": 7}
    assert len(experience.features) == 7
    assert read(store, spec, experience.last).features.shape == (0, spec.observation.size)


def test_experience_of_another_spec_stays_in_the_store(store, ingest, spec, make_segment):
    ingest.keep([make_segment(device="twin", spec="ffffffffffffffff")], 5)
    assert read(store, spec, 0).keys == ()


@st.composite
def histories(draw):
    """Batches of (device, seq) with doubles and any order; a crash may follow a batch."""
    one = st.tuples(st.sampled_from(["arm-0", "arm-1"]), st.integers(0, 9))
    return draw(st.lists(st.tuples(st.lists(one, max_size=8), st.booleans()), max_size=8))


@settings(max_examples=25, deadline=None)
@given(history=histories())
def test_exactly_once_under_doubles_reorders_and_crashes(
    tmp_path_factory, spec, make_segment, seal, history
):
    path = tmp_path_factory.mktemp("once") / "s.sqlite"
    store = Store(path)
    ingest, sent, acked, fresh = Ingest(store, spec, ROBOTS), set(), set(), 0
    for batch, crash in history:
        sealed = [seal(make_segment(seq, device), deflated=seq % 2 == 0) for device, seq in batch]
        done = ingest.take(sealed, 5)
        sent |= set(batch)
        fresh += done.counts.get("ingested", 0)
        if crash:
            store.close()
            store = Store(path)
            ingest = Ingest(store, spec, ROBOTS)
            continue
        for ack in done.acks:
            acked |= {(ack.device, seq) for seq in (*range(ack.below), *ack.also)}
    stored = [(key.device, key.seq) for _, key, _, _ in store.experience(0)]
    assert sorted(stored) == sorted(sent)
    assert fresh == len(sent)
    assert acked <= set(stored)
    store.close()


def test_a_span_of_experience_names_its_segments(store, ingest, spec, make_segment, seal):
    ingest.take([seal(make_segment(seq)) for seq in (0, 1, 3)], 5)
    assert ranges(read(store, spec, 0).keys) == (
        SegmentRange("arm-0", 7, 0, 1),
        SegmentRange("arm-0", 7, 3, 3),
    )
