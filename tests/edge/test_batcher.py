import numpy as np
import pytest
from edge_bench import MS, SPEC, observation
from hypothesis import given
from hypothesis import strategies as st

from tierloop.contract.account import Account
from tierloop.edge.batcher import Batcher


def make(batch_max: int = 4, *devices: str) -> tuple[Batcher, Account]:
    account = Account()
    batcher = Batcher(SPEC.observation.size, batch_max, 50 * MS, account)
    for device in devices or ("a", "b", "c", "d", "e"):
        batcher.open(device)
    return batcher, account


def names(batch) -> list[tuple[str, int]]:
    return [(r.observation.device, r.observation.seq) for r in batch.requests]


def test_rows_of_a_batch_are_the_observations_in_order():
    batcher, _ = make()
    for i, device in enumerate("abc"):
        features = np.full(SPEC.observation.size, i, np.float32)
        assert batcher.add(i, observation(0, device, features=features))
    batch = batcher.take(10)
    assert names(batch) == [("a", 0), ("b", 0), ("c", 0)]
    assert batch.features.shape == (3, SPEC.observation.size)
    assert batch.features[:, 0].tolist() == [0, 1, 2]
    assert batcher.take(10) is None


def test_the_newest_wins_and_keeps_its_place_in_line():
    batcher, account = make(2)
    for seq, device in ((0, "a"), (0, "b"), (0, "c"), (1, "a")):
        batcher.add(seq, observation(seq, device))
    assert names(batcher.take(1)) == [("a", 1), ("b", 0)]
    assert names(batcher.take(1)) == [("c", 0)]
    assert account.counts["dropped.superseded"] == 1


def test_an_older_or_repeated_observation_is_refused():
    batcher, account = make()
    assert batcher.add(0, observation(5, "a"))
    batcher.take(0)
    assert not batcher.add(0, observation(5, "a"))
    assert not batcher.add(0, observation(4, "a"))
    assert account.counts["dropped.reordered"] == 2
    batcher.open("a")
    assert batcher.add(0, observation(0, "a"))


def test_what_waited_past_its_deadline_is_dropped():
    batcher, account = make(2)
    for at_ms, device in ((0, "a"), (0, "b"), (0, "c"), (1, "d")):
        batcher.add(at_ms * MS, observation(0, device))
    assert names(batcher.take(51 * MS)) == [("d", 0)]
    assert account.counts["dropped.expired"] == 3
    batcher.add(60 * MS, observation(1, "a"))
    assert names(batcher.take(110 * MS)) == [("a", 1)], "waited exactly its deadline"
    assert batcher.take(0) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"features": np.zeros(SPEC.observation.size + 1, np.float32)},
        {"features": np.zeros(0, np.float32)},
        {"features": np.array([0, 0, np.nan, 0], np.float32)},
        {"features": np.array([0, -np.inf, 0, 0], np.float32)},
        {"captured_ns": -1},
        {"captured_ns": 2**62},
    ],
)
def test_a_misfit_is_counted_and_never_waits(changes):
    batcher, account = make()
    assert not batcher.add(0, observation(0, "a", **changes))
    assert len(batcher.waiting) == 0
    assert account.counts["dropped.misfit"] == 1
    assert batcher.add(0, observation(0, "a")), "a misfit does not use up its number"


def test_a_closed_session_leaves_nothing_behind():
    batcher, account = make()
    batcher.add(0, observation(0, "a"))
    batcher.close("a")
    assert batcher.take(0) is None
    assert account.counts["dropped.lost"] == 1


STEP = st.tuples(
    st.sampled_from("abcde"), st.integers(0, 6), st.integers(0, 40), st.booleans(), st.booleans()
)


@given(st.lists(STEP, max_size=60), st.integers(1, 3))
def test_every_observation_is_answered_waits_or_is_counted(steps, batch_max):
    batcher, account = make(batch_max)
    now_ns = taken = 0
    for device, seq, wait_ms, fits, serve in steps:
        now_ns += wait_ms * MS
        features = np.full(SPEC.observation.size, 0.0 if fits else np.nan, np.float32)
        batcher.add(now_ns, observation(seq, device, features=features))
        if serve and (batch := batcher.take(now_ns)):
            assert len(batch.requests) <= batch_max
            assert all(now_ns - r.arrived_ns <= 50 * MS for r in batch.requests)
            taken += len(batch.requests)
    dropped = sum(n for name, n in account.counts.items() if name.startswith("dropped."))
    assert account.counts["observations"] == len(steps) == taken + dropped + len(batcher.waiting)


def test_overload_starves_no_device():
    """Five devices, each always waiting with something newer, room for two: all get their turn."""
    batcher, _ = make(2)
    served = dict.fromkeys("abcde", 0)
    for turn in range(50):
        for device in "abcde":
            batcher.add(turn * MS, observation(turn, device))
        for request in batcher.take(turn * MS).requests:
            served[request.observation.device] += 1
    assert min(served.values()) >= 15, "20 would be an even share"
