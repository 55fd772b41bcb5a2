from tierloop.contract.events import DETAIL_MAX, EVENTS_MAX, Events


def test_a_storm_of_one_kind_hides_no_other_and_stays_short():
    events = Events()
    events.add(0, "policy", "v1 acts")
    for n in range(1, EVENTS_MAX + 50):
        events.add(n, "session", "w" * 10_000)
    events.add(900, "battery", "cut out")
    told = events.take()
    assert len(told) == EVENTS_MAX
    assert (told[0].name, told[-1].name) == ("policy", "battery")
    assert [e.at_ns for e in told] == sorted(e.at_ns for e in told)
    assert max(len(e.detail) for e in told) == DETAIL_MAX
    assert events.dropped == 51
    assert events.take() == ()


def test_room_is_made_anew_for_each_report():
    events = Events()
    for _ in range(3):
        for n in range(EVENTS_MAX):
            events.add(n, f"name-{n % 7}")
        assert len(events.take()) == EVENTS_MAX
    assert events.dropped == 0
