"""A robot without a link does what one with a link does."""

import numpy as np
from plant import PERIOD_NS, POLICY, embodiment

from tierloop.contract.ledger import INDEX, Refusal, Rung
from tierloop.device.config import DeviceConfig
from tierloop.device.unlinked import HEADER_BYTES, Unlinked

ROWS = np.full((POLICY.horizon, POLICY.action.size), 0.1, np.float32)


def driven(ticks: int, late_ticks: int) -> tuple[Unlinked, int]:
    """A robot whose every question is answered so many ticks later, and the time then."""
    device, asked = Unlinked("arm", 1, embodiment(), DeviceConfig(), "test"), []
    for tick in range(1, ticks + 1):
        while asked and asked[0][0] <= tick:
            device.answer(tick * PERIOD_NS, asked.pop(0)[1], ROWS, 4)
        question = device.tick(tick * PERIOD_NS)
        if question is not None:
            asked.append((tick + late_ticks, question))
    return device, ticks * PERIOD_NS


def test_each_question_has_one_answer_that_acts():
    device, now_ns = driven(480, late_ticks=3)
    assert device.node.arbiter.rung is Rung.EDGE
    rows = device.node.report(now_ns, last=True).decisions
    done = rows[rows[:, INDEX["received_ns"]] > 0]
    assert len(done) >= 39
    assert (done[:, INDEX["refused"]] == Refusal.NONE).all()
    assert (done[:, INDEX["policy_version"]] == 4).all()
    later_ns = done[:, INDEX["received_ns"]] - done[:, INDEX["captured_ns"]]
    assert (abs(later_ns - 3 * PERIOD_NS) <= PERIOD_NS).all()


def test_what_is_sent_is_counted_and_what_is_sealed_is_stored():
    device, now_ns = driven(480, late_ticks=0)
    report = device.node.report(now_ns, last=True)
    assert report.counters["segments.acked"] == report.counters["segments.produced"] == 4
    size = 4 * POLICY.observation.size + HEADER_BYTES
    assert (report.decisions[:, INDEX["bytes_up"]] == size).all()
    assert (report.decisions[:, INDEX["sent_ns"]] > 0).all()
    assert device.node.meter.joules["radio"] > 0


def test_the_last_reading_can_be_looked_at():
    device, now_ns = driven(12, late_ticks=0)
    assert 0 <= now_ns - device.reading.captured_ns < PERIOD_NS
