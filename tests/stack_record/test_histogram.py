"""Histograms: near to the raw samples, the same when merged, in memory that does not grow."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import S, report, row

from tierloop.contract.ledger import INDEX
from tierloop.contract.specs import PolicySpec
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.stack.record.histogram import STRETCHES_MAX, Histogram, Stretches
from tierloop.stack.record.record import Record

SPEC: PolicySpec = policy_spec(Scenario())
RANKS = (0.0, 1.0, 50.0, 90.0, 99.9, 100.0)


@given(st.lists(st.integers(0, 2**44), min_size=1, max_size=200))
def test_percentiles_are_within_what_is_promised(values):
    found, raw = Histogram(), np.array(values, np.int64)
    found.add(raw)
    exact = np.percentile(raw, RANKS)
    assert found.percentiles(RANKS) == pytest.approx(exact, rel=2e-3, abs=1e-9)
    assert (found.n, found.max) == (len(values), max(values))
    assert found.samples() == pytest.approx(np.sort(raw), rel=2e-3)
    assert found.percentiles(RANKS) == pytest.approx(np.percentile(found.samples(), RANKS))


def test_what_is_below_1_counts_as_0_and_what_is_beyond_all_as_the_largest():
    found = Histogram()
    found.add(np.array([-5, 0, 1, 2**62]))
    assert found.samples()[:3] == pytest.approx([0, 0, 1], rel=2e-3)
    assert found.n == 4


@given(
    st.lists(st.lists(st.integers(0, 10**9), max_size=30), min_size=1, max_size=60),
    st.integers(1, 5 * S),
)
def test_a_run_of_any_length_has_few_stretches_and_loses_no_sample(pieces, each_ns):
    stretches, whole = Stretches(), Histogram()
    for i, piece in enumerate(pieces):
        values = np.array(piece, np.int64)
        stretches.add(i * each_ns, (i + 1) * each_ns, values)
        whole.add(values)
    assert len(stretches.blocks()) <= STRETCHES_MAX
    assert (stretches.whole().counts == whole.counts).all()
    assert stretches.whole().max == whole.max


def test_stretches_are_of_equal_length_and_in_order_of_time():
    stretches = Stretches()
    for second in range(100):
        stretches.add(second * S, (second + 1) * S, np.full(8, 1000 + second))
    blocks = stretches.blocks()
    assert STRETCHES_MAX / 2 <= len(blocks) <= STRETCHES_MAX
    assert len({len(block) for block in blocks[:-1]}) == 1
    means = [block.mean() for block in blocks]
    assert means == sorted(means)


def test_the_record_of_a_long_run_takes_no_more_memory_than_that_of_a_short_one():
    """Seven minutes of a robot after one, each with all stretches in use: 4 MB of reports."""

    def second(t: int):
        rows = np.array([row(20 * t + i, 1000 * t + 50 * i, 5 + i) for i in range(20)])
        rows[:, INDEX["policy_version"]] = t // 200
        late = np.random.default_rng(t).integers(0, 10**6, 240)
        return report("arm-0", "device", t, rows=rows, lateness_ns=late)

    record = Record(SPEC)
    tracemalloc.start()
    for t in range(64):
        record.take(second(t))
    before, _ = tracemalloc.get_traced_memory()
    for t in range(64, 512):
        record.take(second(t))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert record.samples["lateness"].whole().n == 512 * 240
    assert [lived.version for lived in record.versions()] == [0, 1, 2]
    assert after - before < 200_000
