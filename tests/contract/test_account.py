from tierloop.contract.account import DETAIL_MAX, EVENTS_MAX, Account


def test_a_storm_of_one_kind_hides_no_other_and_stays_short():
    account = Account()
    account.event(0, "policy", "v1 acts")
    for n in range(1, EVENTS_MAX + 50):
        account.event(n, "session", "w" * 10_000)
    account.event(900, "battery", "cut out")
    told = account.take_events()
    assert len(told) == EVENTS_MAX
    assert (told[0].name, told[-1].name) == ("policy", "battery")
    assert [e.at_ns for e in told] == sorted(e.at_ns for e in told)
    assert max(len(e.detail) for e in told) == DETAIL_MAX
    assert account.dropped == 51
    assert account.take_events() == ()


def test_room_is_made_anew_for_each_report():
    account = Account()
    for _ in range(3):
        for n in range(EVENTS_MAX):
            account.event(n, f"name-{n % 7}")
        assert len(account.take_events()) == EVENTS_MAX
    assert account.dropped == 0


def test_a_report_counts_the_events_that_found_no_room():
    account = Account()
    account.counts["stored"] += 2
    account.gauges["waiting"] = 3.0
    for n in range(EVENTS_MAX + 5):
        account.event(n, "storm")
    report = account.report("edge", 7, 99, {"busy_s": 1.5}, {"policy": "v1"})
    assert (report.process, report.role, report.boot, report.at_ns) == ("edge", "edge", 7, 99)
    assert report.counters == {"stored": 2.0, "events_dropped": 5.0, "busy_s": 1.5}
    assert (report.gauges, report.labels) == ({"waiting": 3.0}, {"policy": "v1"})
    assert [report.events[0].at_ns, report.events[-1].at_ns] == [5, EVENTS_MAX + 4]
    assert account.report("edge", 7, 100, {}, {}).events == ()
