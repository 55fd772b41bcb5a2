"""What a message says of another one that it answers."""

import numpy as np
from plant import POLICY

from tierloop.contract.clock import NS_PER_MS
from tierloop.contract.messages import ActionChunk, Observation


def test_an_answer_has_the_stamps_of_what_it_answers_and_is_valid_for_the_horizon():
    asked = Observation(
        device="arm", boot=2, seq=3, captured_ns=40, features=np.zeros(4, np.float32), ahead_ns=5
    )
    rows = np.ones((POLICY.horizon, POLICY.action.size), np.float32)
    chunk = ActionChunk.answering(
        asked, POLICY, rows, 6, batch=7, arrived_ns=8, held_ns=9, compute_ns=10
    )
    assert (chunk.device, chunk.boot, chunk.seq) == ("arm", 2, 3)
    assert (chunk.captured_ns, chunk.ahead_ns, chunk.anchor_ns) == (40, 5, 45)
    assert (chunk.period_ns, chunk.valid_until_ns) == (50 * NS_PER_MS, 40 + 400 * NS_PER_MS)
    assert (chunk.policy_version, chunk.tier, chunk.batch) == (6, "edge", 7)
    assert (chunk.arrived_ns, chunk.held_ns, chunk.compute_ns) == (8, 9, 10)
    assert chunk.actions is rows
