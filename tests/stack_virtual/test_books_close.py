"""The books of experience close on the virtual clock too, whatever crashes."""

from virtual_plants import deployment, plants

from tierloop.stack.record.books import balance, holdings


def test_after_crashes_of_all_tiers_the_books_close():
    with plants(deployment()) as p:
        for name in ("p-0", "edge", "p-1", "cloud", "p-0", "p-0"):
            p.run(1.7)
            p.stack.crash(name)
            p.run(0.3)
            p.stack.restart(name)
        p.stack.crash("edge")
        p.run(2.3)
        p.stack.restart("p-1")
        p.stack.restart("edge")
        p.run(4)
        p.stack.finish()
        p.audit()
        found = balance(p.record, holdings(p.folder))
        reported = sum(life.last.counters["segments.produced"] for life in p.record.of("device"))
        assert found.produced >= reported > 40
        assert found.lost > 0
        assert found.unbalanced == 0
        where = found.stored + found.refused + found.waiting + found.waiting_device
        assert found.produced == where + found.dropped + found.shed_device + found.lost
        assert found.dropped == found.shed_device == 0
