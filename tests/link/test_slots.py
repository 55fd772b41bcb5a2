"""Slots: on one grid for all links of a clock, constant within, another delay after each edge."""

import numpy as np
import pytest

from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.link.direction import DirectionSpec
from tierloop.link.model import LinkModel

APART_NS = 10 * NS_PER_MS


def delays_ms(seconds, seed=1, **values):
    link = LinkModel(DirectionSpec(slot_s=15, **values), np.random.default_rng(seed))
    sent = range(0, seconds * NS_PER_S, APART_NS)
    return np.array([(link.carry(at_ns, 1)[0].at_ns - at_ns) / NS_PER_MS for at_ns in sent])


def changes_s(delays):
    return [float(i) * APART_NS / NS_PER_S for i in np.flatnonzero(np.diff(delays)) + 1]


def test_the_delay_changes_at_12_27_42_and_57_s_past_the_minute_and_nowhere_else():
    delays = delays_ms(180, slot_ms=28)
    edges = [12.0 + 15 * i for i in range(12)]
    moved = [s for s in changes_s(delays) if s not in edges]
    assert set(edges[:-1]) <= set(changes_s(delays))
    assert all(any(0 < s - edge < 0.03 for edge in edges) for s in moved), "order is kept"


def test_all_links_change_at_the_same_instants_and_to_delays_of_their_own():
    one, other = delays_ms(60, 1, slot_ms=28), delays_ms(60, 2, slot_ms=28)
    middles = [6, 19, 34, 49]
    at = np.array(middles) * NS_PER_S // APART_NS
    assert (one[at] != other[at]).all()
    assert len(set(one[at])) == len(middles)


@pytest.mark.untraced
def test_a_slots_delay_is_uniform():
    links = [delays_ms(1, seed, slot_ms=28)[0] for seed in range(4000)]
    found = np.sort(links) / 28
    gap = np.abs(found - (np.arange(len(found)) + 0.5) / len(found)).max()
    assert gap * np.sqrt(len(found)) < 1.95  # p > 0.001


def test_what_is_sent_while_a_slot_begins_waits_for_it_to_be_ready():
    delays = delays_ms(45, slot_stall_ms=75)
    late = np.flatnonzero(delays > 0) * APART_NS / NS_PER_S
    assert late == pytest.approx([e + i / 100 for e in (12, 27, 42) for i in range(8)])
    assert delays[delays > 0].tolist() == 3 * [75, 65, 55, 45, 35, 25, 15, 5]


def test_a_slot_that_nothing_crosses_needs_no_message():
    """After a silence of many slots the link goes on as any other would."""
    link = LinkModel(DirectionSpec(slot_s=15, slot_ms=28), np.random.default_rng(1))
    first, later = link.carry(0, 1), link.carry(10**6 * NS_PER_S, 1)
    assert first[0].at_ns >= 0
    assert later[0].at_ns >= 10**6 * NS_PER_S
