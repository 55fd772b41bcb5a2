"""What a setpoint is made of: each chunk's share is how much of its rows shows in the setpoint."""

import numpy as np
import pytest
from plant import POLICY, SPEC

from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.messages import ActionChunk
from tierloop.device import chunks
from tierloop.device.arbiter import Arbiter
from tierloop.device.config import ActingConfig
from tierloop.device.origin import Origin

MS = NS_PER_MS
NEWEST = 11


def chunk(seq: int, captured_ms: int, valid_ms: int, shift_rad: float = 0.0) -> ActionChunk:
    rows = np.random.default_rng(seq).uniform(-1, 1, (8, 3)).astype(np.float32)
    rows[:, 0] += shift_rad
    return ActionChunk(
        device="arm", boot=1, seq=seq, captured_ns=captured_ms * MS, period_ns=50 * MS,
        valid_until_ns=(captured_ms + valid_ms) * MS, policy_version=seq // 4, tier="edge",
        batch=1, held_ns=0, compute_ns=0, actions=rows,
    )  # fmt: skip


def lived(blend_ms: float, valid_ms: int, tick_ms: int, shifted: int | None = None):
    """The joint's setpoints and origins, tick by tick: a chunk each 50 ms, late by 20 to 80 ms."""
    arbiter = Arbiter("arm", 1, POLICY, SPEC, NS_PER_S, ActingConfig(blend_ms=blend_ms))
    late_ms = np.random.default_rng(5).integers(20, 80, NEWEST + 1)
    coming = {50 * seq + late: seq for seq, late in enumerate(late_ms.tolist())}
    setpoint, found = np.zeros(3), []
    for at_ms in range(20, 900):
        seq = coming.get(at_ms)
        if seq is not None:
            arbiter.offer(
                at_ms * MS, chunk(seq, 50 * seq, valid_ms, 1e-3 * (seq == shifted)), setpoint
            )
        if at_ms % tick_ms:
            continue
        wish = arbiter.choose(at_ms * MS)
        setpoint = np.zeros(3) if wish is None else wish  # a hold is of no chunk
        if wish is not None:
            found.append((at_ms, float(wish[0]), arbiter.origin))
    return found


@pytest.mark.parametrize(
    ("blend_ms", "valid_ms", "tick_ms"),
    [(0, 400, 1), (100, 400, 1), (300, 400, 1), (100, 90, 1), (0, 400, 45), (100, 400, 45)],
)
def test_each_share_is_what_the_chunk_moves(blend_ms, valid_ms, tick_ms, monkeypatch):
    """The shares by brute force: shift one chunk's rows and see by how much the setpoint shifts.

    With a validity of 90 ms plans expire in the middle of a fade, and the body holds in between.
    With a tick of 45 ms two chunks come between two ticks. Small shares count here, and fades last
    as long as they may.
    """
    monkeypatch.setattr("tierloop.device.arbiter.by_motion", lambda _, most_ns: lambda _: most_ns)
    monkeypatch.setattr("tierloop.device.origin.LEAST", 1e-9)
    plain = lived(blend_ms, valid_ms, tick_ms)
    shares = np.array(
        [
            [
                (a[1] - b[1]) / 1e-3
                for a, b in zip(lived(blend_ms, valid_ms, tick_ms, seq), plain, strict=True)
            ]
            for seq in range(NEWEST + 1)
        ]
    )
    captured_ms = 50.0 * np.arange(NEWEST + 1)
    held = shares.sum(0) < 1 - 1e-3  # some of it is a setpoint held, which is of no chunk
    assert (~held).sum() > 100 / tick_ms
    for i in np.flatnonzero(~held):
        at_ms, _, origin = plain[i]
        mean_ms = captured_ms @ shares[:, i]
        assert origin.captured_ns / MS == pytest.approx(mean_ms, abs=0.05), at_ms
        (oldest,) = np.flatnonzero(shares[:, i] > 2e-3)[:1]
        assert origin.oldest_ns / MS <= captured_ms[oldest]
        by_version = dict(origin.versions)
        assert sum(by_version.values()) == pytest.approx(1)
        for version in range(3):
            share = shares[4 * version : 4 * version + 4, i].sum()
            assert by_version.get(version, 0.0) == pytest.approx(share, abs=2e-3)
        assert [*by_version.values()] == sorted(by_version.values(), reverse=True)


def test_shares_in_fades_by_motion_are_what_each_chunk_moves(monkeypatch):
    """A shift would change how long the fades last: they last as long as without one."""
    lasted: list[int] = []

    def noted(gap_rad):
        lasted.append(chunks.motion_ns([(100.0, 400.0)] * 2, gap_rad))
        return lasted[-1]

    monkeypatch.setattr("tierloop.device.arbiter.by_motion", lambda *_: noted)
    plain = lived(100, 400, 1)
    shares = []
    for seq in range(NEWEST + 1):
        again = iter(lasted)
        monkeypatch.setattr(
            "tierloop.device.arbiter.by_motion", lambda *_, a=again: lambda _: next(a)
        )
        moved = lived(100, 400, 1, seq)
        shares.append([(a[1] - b[1]) / 1e-3 for a, b in zip(moved, plain, strict=True)])
    captured_ms = 50.0 * np.arange(NEWEST + 1)
    expected = captured_ms @ np.array(shares)
    found = np.array([origin.captured_ns / MS for _, _, origin in plain])
    whole = np.array(shares).sum(0) > 1 - 1e-3
    assert len(set(lasted)) > 5
    assert whole.sum() > 100
    assert found[whole] == pytest.approx(expected[whole], abs=0.05)


def test_without_a_fade_the_first_row_is_led_up_to_from_the_plan_before():
    found = {at_ms: origin for at_ms, _, origin in lived(0, 400, 1)}
    assert any(len(origin.versions) > 1 for origin in found.values())
    assert max(at_ms * MS - origin.oldest_ns for at_ms, origin in found.items()) > 150 * MS


def test_a_setpoint_of_no_chunk_has_no_origin():
    arbiter = Arbiter("arm", 1, POLICY, SPEC, NS_PER_S, ActingConfig())
    assert arbiter.choose(0) is None
    assert arbiter.origin is None
    arbiter.offer(10 * MS, chunk(0, 0, 400), np.zeros(3))
    arbiter.choose(10 * MS)
    assert arbiter.origin[:3] == (0, 0, ((0, 1.0),))
    arbiter.choose(401 * MS)
    assert arbiter.origin is None


def test_a_share_of_nothing_is_not_counted():
    old, new = Origin.of((chunk(0, 0, 400), 1.0)), Origin.of((chunk(9, 450, 400), 1.0))
    assert new.faded(old, 0.0) is old
    assert new.faded(old, 1.0) is new
    half = new.faded(old, 0.5)
    assert half.captured_ns == 225 * MS
    assert half.oldest_ns == 0
    assert half.versions == ((2, 0.5), (0, 0.5))


def test_small_shares_are_left_out_unless_there_are_no_others():
    many = [(chunk(seq, 50 * seq, 400), 1 / 200) for seq in range(200)]
    assert Origin.of(*many).captured_ns == pytest.approx(50 * 99.5 * MS)
    assert Origin.of((many[9][0], 0.995), many[0]).oldest_ns == 450 * MS
