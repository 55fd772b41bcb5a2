"""The heap of events: order, ties, and what is asked for while it runs."""

from functools import partial

from tierloop.stack.virtual.heap import Heap


def test_time_orders_and_a_tie_goes_to_the_one_asked_for_first():
    heap, seen = Heap(), []
    for at_ns, name in ((30, "c"), (10, "a"), (30, "d"), (20, "b")):
        heap.at(at_ns, partial(seen.append, name))
    heap.run(30)
    assert seen == ["a", "b", "c", "d"]
    assert heap.now_ns == 30


def test_it_runs_up_to_and_including_the_end_and_not_beyond():
    heap, seen = Heap(), []
    heap.at(10, partial(seen.append, 10))
    heap.at(11, partial(seen.append, 11))
    heap.run(10)
    assert seen == [10]
    heap.run(9)
    assert heap.now_ns == 10
    heap.run(11)
    assert seen == [10, 11]


def test_what_is_past_happens_now_after_all_that_is_due():
    heap, seen = Heap(), []

    def first() -> None:
        seen.append(("first", heap.now_ns))
        heap.at(3, lambda: seen.append(("late", heap.now_ns)))

    heap.at(5, first)
    heap.at(5, lambda: seen.append(("second", heap.now_ns)))
    heap.run(5)
    assert seen == [("first", 5), ("second", 5), ("late", 5)]
