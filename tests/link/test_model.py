"""Every property of the link model, measured on what it does to many messages."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.link.model import LONGEST_NS, Conditions, LinkModel
from tierloop.link.presets import PRESETS
from tierloop.link.spec import LinkSpec

APART_NS = NS_PER_S
"""Far enough apart that no message meets another."""


def model(seed=1, **values):
    """The way up."""
    return LinkModel(LinkSpec(**values).directions()[0], np.random.default_rng([seed, 5]))


def carry(link, n, apart_ns=APART_NS, size=100):
    """What became of n messages: one list of arrivals a message, and when each was sent."""
    sent = [(i + 1) * apart_ns for i in range(n)]
    return [link.carry(at_ns, size) for at_ns in sent], sent


def delays_ms(link, n, apart_ns=APART_NS):
    arrivals, sent = carry(link, n, apart_ns)
    pairs = zip(arrivals, sent, strict=True)
    return np.array([(a[0].at_ns - at) / NS_PER_MS for a, at in pairs if a])


def within(share, n, p, z=4.0):
    """Whether a share of n draws is what probability p gives, within z standard errors."""
    return abs(share - p) <= z * np.sqrt(p * (1 - p) / n) + 1e-12


def runs(flags, value):
    return [len(list(group)) for is_value, group in itertools.groupby(flags) if is_value == value]


def test_a_link_of_which_nothing_is_said_is_at_once():
    link = model()
    assert link.spec.ideal
    assert link.carry(5, 10**6) == [(5, False)]
    assert not link.dropped


def test_delay_is_added_to_all():
    assert set(delays_ms(model(delay_ms=12.5), 50)) == {12.5}


@pytest.mark.parametrize("loss", [0.01, 0.2, 0.6])
def test_losses_without_bursts_are_independent(loss):
    link = model(loss=loss)
    got, _ = carry(link, 20_000, NS_PER_MS)
    lost = [not a for a in got]
    assert within(np.mean(lost), len(lost), loss)
    assert link.dropped == {"loss": sum(lost)}
    after_loss = [b for a, b in itertools.pairwise(lost) if a]
    assert within(np.mean(after_loss), len(after_loss), loss)


@pytest.mark.untraced
@pytest.mark.parametrize(("apart_ms", "n"), [(1, 200_000), (5, 100_000)])
def test_bursts_last_as_long_as_said_whatever_the_rate(apart_ms, n):
    """Gilbert and Elliott: geometric bursts, of burst_ms in time, at the said share of losses."""
    link = model(loss=0.1, burst_ms=40)
    got, _ = carry(link, n, apart_ms * NS_PER_MS)
    lost = [not a for a in got]
    assert np.mean(lost) == pytest.approx(0.1, rel=0.1)
    bursts = runs(lost, True)
    stay = 0.1 + 0.9 * np.exp(-apart_ms / (40 * 0.9))
    assert np.mean(bursts) == pytest.approx(1 / (1 - stay), rel=0.08)
    assert np.mean(bursts) * apart_ms == pytest.approx(40, rel=0.2)
    assert np.mean(np.array(bursts) > 2 * np.mean(bursts)) == pytest.approx(np.exp(-2), abs=0.04)


def test_throughput_stops_at_the_bandwidth_and_the_queue_is_bounded():
    """Offered ten times what fits: it carries what fits, and nothing waits beyond queue_ms."""
    link = model(bandwidth_mbps=8, queue_ms=50)
    size, apart_ns = 1000, NS_PER_MS // 10
    got, sent = carry(link, 20_000, apart_ns, size)
    arrived = [a[0].at_ns for a in got if a]
    rate = size * 8 * (len(arrived) - 1) / ((arrived[-1] - arrived[0]) / NS_PER_S)
    assert rate == pytest.approx(8e6, rel=0.01)
    waits = [a[0].at_ns - at for a, at in zip(got, sent, strict=True) if a]
    assert max(waits) <= 51 * NS_PER_MS + NS_PER_MS
    assert max(waits) >= 49 * NS_PER_MS
    assert link.dropped["queue"] == len(got) - len(arrived) > 15_000


def test_below_the_bandwidth_a_message_takes_its_own_time():
    link = model(bandwidth_mbps=8)
    got, sent = carry(link, 100, 10 * NS_PER_MS, 2000)
    assert {a[0].at_ns - at for a, at in zip(got, sent, strict=True)} == {2 * NS_PER_MS}


def test_a_link_too_narrow_for_a_number_still_has_one():
    (arrival,) = model(bandwidth_mbps=5e-324).carry(0, 1)
    assert arrival.at_ns == LONGEST_NS


def test_order_is_kept_though_the_jitter_is_wild():
    """Also where the path gets shorter from slot to slot, and a cap on the bandwidth comes and
    goes."""
    jitter = {"jitter_p50_ms": 20, "jitter_p90_ms": 130, "jitter_p99_ms": 700}
    link = model(**jitter, slot_s=0.2, slot_ms=50, duplicate=0.1)
    order = []
    for i in range(5000):
        link.conditions.bandwidth_mbps = 0.5 if i % 100 < 10 else 0
        order += [a.at_ns for a in link.carry((i + 1) * NS_PER_MS, 100)]
    assert order == sorted(order)


def test_reordered_messages_are_overtaken():
    link = model(delay_ms=5, reorder=0.1, reorder_ms=7)
    got, sent = carry(link, 10_000, NS_PER_MS)
    late = [a[0].at_ns - at == 12 * NS_PER_MS for a, at in zip(got, sent, strict=True)]
    assert within(np.mean(late), len(late), 0.1)
    assert {a[0].at_ns - at for a, at in zip(got, sent, strict=True)} == {
        5 * NS_PER_MS,
        12 * NS_PER_MS,
    }


def test_duplicates_come_at_their_rate():
    link = model(duplicate=0.25)
    got, _ = carry(link, 20_000)
    twice = [len(a) == 2 for a in got]
    assert within(np.mean(twice), len(twice), 0.25)
    assert link.duplicated == sum(twice)
    assert link.carried == len(got)


def test_duplicates_of_a_fault_and_of_the_link_combine_as_two_faults_do():
    link = model(duplicate=0.5)
    link.conditions = Conditions(duplicate=0.5)
    got, _ = carry(link, 20_000)
    twice = [len(a) == 2 for a in got]
    assert within(np.mean(twice), len(twice), 0.75)


def test_outages_come_and_last_as_said():
    link = model(outage_every_s=10, outage_s=0.5)
    got, _ = carry(link, 80_000, 50 * NS_PER_MS)
    out = [not a for a in got]
    outages = runs(out, True)
    assert np.mean(outages) * 0.05 == pytest.approx(0.5, abs=0.02)
    assert len(outages) == pytest.approx(4000 / 10.5, rel=0.2)
    assert link.dropped == {"outage": sum(out)}


def test_outages_count_from_the_first_message_on_whatever_the_clock_says():
    """On a host that has been up for years the first message must not live through them all."""
    young, old = model(outage_every_s=2, outage_s=0.5), model(outage_every_s=2, outage_s=0.5)
    years_ns = 3 * 365 * 86400 * NS_PER_S
    times = [i * 100 * NS_PER_MS for i in range(500)]
    fates = [bool(young.carry(at_ns, 1)) for at_ns in times]
    assert [bool(old.carry(years_ns + at_ns, 1)) for at_ns in times] == fates
    assert 0 < fates.count(False) < 250


def test_conditions_come_and_go():
    link = model(delay_ms=1)
    link.conditions.cut = True
    assert link.carry(1, 10) == []
    link.conditions = Conditions(extra_delay_ns=9 * NS_PER_MS)
    assert link.carry(2, 10) == [(2 + 10 * NS_PER_MS, False)]
    link.conditions = Conditions()
    assert link.carry(APART_NS, 10) == [(APART_NS + NS_PER_MS, False)]
    assert link.dropped == {"cut": 1}


def test_conditions_of_loss_duplication_corruption():
    link = model()
    link.conditions = Conditions(loss=0.3, duplicate=0.2, corrupt=0.1)
    got, _ = carry(link, 20_000)
    assert within(np.mean([not a for a in got]), len(got), 0.3)
    passed = [a for a in got if a]
    assert within(np.mean([len(a) == 2 for a in passed]), len(passed), 0.2)
    first = [a[0].corrupt for a in passed]
    assert within(np.mean(first), len(first), 0.1)
    link.conditions = Conditions(loss=1.0)
    assert all(not link.carry(at_ns, 1) for at_ns in range(10**14, 10**14 + 100))


def test_a_cap_slows_a_link_and_never_quickens_it():
    link = model(bandwidth_mbps=8)
    link.conditions = Conditions(bandwidth_mbps=0.8)
    assert link.carry(0, 1000) == [(10 * NS_PER_MS, False)]
    link.conditions = Conditions(bandwidth_mbps=80)
    assert link.carry(APART_NS, 1000) == [(APART_NS + NS_PER_MS, False)]
    free = model()
    free.conditions = Conditions(bandwidth_mbps=0.8)
    assert free.carry(0, 1000) == [(10 * NS_PER_MS, False)]


def test_one_bit_is_flipped():
    link, data = model(), bytes(range(200))
    places = set()
    for _ in range(400):
        spoiled = link.spoil(data)
        (at,) = [i for i, (a, b) in enumerate(zip(data, spoiled, strict=True)) if a != b]
        assert (data[at] ^ spoiled[at]).bit_count() == 1
        places.add(at)
    assert len(places) > 150
    assert link.spoil(b"") == b""


def test_the_same_seed_gives_the_same_and_another_does_not():
    def life(seed):
        link = model(seed, preset="wifi", duplicate=0.05, reorder=0.05, reorder_ms=3)
        return carry(link, 2000, NS_PER_MS)[0]

    assert life(1) == life(1) != life(2)


def test_all_that_was_offered_is_carried_or_dropped():
    link = model(preset="satellite", duplicate=0.1)
    carry(link, 5000, 3 * NS_PER_MS, 10_000)
    assert link.carried + sum(link.dropped.values()) == 5000
    counters = link.counters("up")
    assert counters["link.up.carried"] == link.carried
    assert counters["link.up.dropped.queue"] == link.dropped["queue"] > 0


shares = st.floats(0, 0.9)
jitters = st.builds(
    lambda p50, further, tail: {
        "jitter_p50_ms": p50,
        "jitter_p90_ms": p50 + further,
        "jitter_p99_ms": p50 + further * (1 + tail),
        "jitter_max_ms": p50 + further * (1 + 10 * tail),
    },
    st.floats(0, 50),
    st.floats(0.001, 100),
    st.floats(0.4, 100),
)
specs = st.builds(
    lambda jitter, **values: LinkSpec(**jitter, **values),
    jitter=st.just({}) | jitters,
    preset=st.sampled_from(sorted(PRESETS)),
    delay_ms=st.none() | st.floats(0, 500),
    slot_s=st.none() | st.just(0) | st.floats(0.001, 1),
    slot_ms=st.none() | st.floats(0, 100),
    slot_stall_ms=st.none() | st.floats(0, 100),
    loss=st.none() | shares,
    burst_ms=st.none() | st.floats(0, 1e4),
    bandwidth_mbps=st.none() | st.floats(0, 1000),
    queue_ms=st.none() | st.floats(0, 2000),
    duplicate=st.none() | shares,
    outage_every_s=st.none() | st.just(0) | st.floats(0.001, 100),
    outage_s=st.none() | st.floats(0, 10),
)
conditions = st.builds(
    Conditions,
    cut=st.booleans(),
    loss=st.floats(0, 1),
    extra_delay_ns=st.integers(0, 10**9),
    bandwidth_mbps=st.just(0.0) | st.floats(0.001, 1000),
    duplicate=st.floats(0, 1),
    corrupt=st.floats(0, 1),
)
offers = st.lists(
    st.tuples(st.integers(0, 10**9), st.integers(0, 10**6), st.none() | conditions), max_size=60
)


@given(specs, offers, st.integers(0, 2**32), st.integers(0, 10**17))
def test_any_link_under_any_conditions_keeps_its_promises(spec, offers, seed, now_ns):
    """Nothing comes early, nothing overtakes, and all that was offered is accounted for."""
    link = LinkModel(spec.directions()[0], np.random.default_rng(seed))
    least_ns, last_ns = round(link.spec.delay_ms * NS_PER_MS), 0
    for passed_ns, size, change in offers:
        now_ns += passed_ns
        if change is not None:
            link.conditions = change
        arrivals = link.carry(now_ns, size)
        assert len(arrivals) <= 2
        assert not (arrivals and link.conditions.cut)
        for arrival in arrivals:
            assert arrival.at_ns >= now_ns + least_ns + link.conditions.extra_delay_ns
            assert arrival.at_ns >= last_ns
            last_ns = arrival.at_ns
    assert link.carried + sum(link.dropped.values()) == len(offers)
