"""The rows to learn from: a uniform sample, in which no robot outweighs the rest."""

from itertools import pairwise

import numpy as np
import pytest

from tierloop.cloud.reservoir import Reservoir, shared


def batch(first, n):
    """Rows that say of themselves which they are."""
    number = np.arange(first, first + n, dtype=np.float32)
    return np.repeat(number[:, None], 3, 1), np.repeat(number, 4).reshape(n, 2, 2)


def held(rows_max, batches, seed=1):
    reservoir, first = Reservoir(rows_max, seed), 0
    for n in batches:
        reservoir.add(*batch(first, n), [("a", n // 2), ("", n - n // 2)])
        first += n
    assert reservoir.seen == first
    features, labels = reservoir.rows()
    assert (features[:, 0] == labels[:, 0, 0]).all(), "a label stays with its row"
    return features[:, 0].astype(int)


def test_all_is_kept_in_order_until_there_is_too_much():
    assert held(100, [30, 40, 30]).tolist() == [*range(100)]
    assert len(held(100, [30, 40, 31])) == 100
    assert len(set(held(100, [250, 1, 99]).tolist())) == 100, "no row is there twice"
    assert (held(50, [30, 400]) == held(50, [30, 400])).all()


def test_the_rows_that_were_given_stay_as_they_were():
    features, labels = batch(0, 40)
    reservoir = Reservoir(10, 1)
    reservoir.add(features, labels, [("a", 40)])
    reservoir.add(*batch(40, 40), [("a", 40)])
    assert (reservoir.rows()[0] >= 40).any(), "later rows are in the sample"
    assert (features == batch(0, 40)[0]).all()
    assert (labels == batch(0, 40)[1]).all()


def test_every_row_that_came_is_as_likely_to_be_there():
    """500 samples of 100 rows in five batches, 20 kept: chi-squared of 100 cells of 100 each."""
    counts = np.zeros(100)
    for seed in range(500):
        counts[held(20, [7, 33, 20, 1, 39], seed)] += 1
    chi2 = ((counts - 100) ** 2 / 100).sum()
    assert 60 < chi2 < 145  # some 0.1 % each side of 80 = 99 * (1 - 20 / 100), sd 11
    thirds = counts[:34].sum(), counts[34:67].sum(), counts[67:].sum()
    assert max(thirds) - min(thirds) < 400


def numbered(owners):
    names = ["", *dict.fromkeys(name for name, _ in owners if name)]
    numbers = np.array([names.index(name) for name, _ in owners], np.int32)
    return np.repeat(numbers, np.array([rows for _, rows in owners], int))


def test_one_robot_brings_no_more_than_the_others_together(monkeypatch):
    """Of what it has lived beyond that, rows evenly spread over all of it."""
    monkeypatch.setattr("tierloop.cloud.reservoir.ALONE_ROWS", 10)
    owners = [("a", 20), ("", 50), ("b", 300), ("c", 20), ("b", 100)]
    rows = shared(numbered(owners))
    ends = np.cumsum([0, *(n for _, n in owners)])
    per = [((rows >= lo) & (rows < hi)).sum() for lo, hi in pairwise(ends)]
    assert (per[0], per[1], per[3]) == (20, 50, 20)
    assert per[2] + per[4] == 40
    assert per[2] == 30
    assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize(
    "owners",
    [
        [],
        [("a", 900)],
        [("", 9), ("a", 900)],
        [("a", 10), ("b", 3)],
        [("a", 70), ("b", 79), ("c", 9)],
    ],
)
def test_robots_that_live_alike_or_alone_are_learnt_from_whole(monkeypatch, owners):
    monkeypatch.setattr("tierloop.cloud.reservoir.ALONE_ROWS", 10)
    assert shared(numbered(owners)) == slice(None)
