from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tierloop.edge.spans import Spans


@given(st.lists(st.integers(0, 30), max_size=60))
def test_spans_are_a_set_of_numbers(numbers):
    spans, model = Spans(), set()
    for number in numbers:
        assert spans.add(number) is (number not in model)
        model.add(number)
        assert [n for n in range(32) if n in spans] == sorted(model)
        assert spans.below == next(n for n in range(32) if n not in model)
        runs = spans.runs
        assert all(first < end for first, end in runs)
        assert all(a[1] < b[0] for a, b in pairwise(runs)), "runs that touch"
        assert Spans(runs).runs == runs


def test_a_long_life_without_gaps_is_one_run():
    spans = Spans()
    assert all(spans.add(n) for n in range(10_000))
    assert spans.runs == [(0, 10_000)]
