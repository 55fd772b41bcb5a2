"""Seeds that once broke a promise; each says what was wrong."""

import pytest

from tierloop.fuzz.case import draw
from tierloop.fuzz.trial import live

ONCE_BROKEN = {
    77: "an offer lost on the link was never made again: the edge stayed behind for good",
    403: "a release refused for want of disk was not offered again when there was room",
    1917: "the only policy's engine failed, and nothing was tried until the edge restarted",
    146: "what a full outbox had dropped was known to nobody after a crash: it counted as lost",
}


@pytest.mark.parametrize("seed", ONCE_BROKEN)
def test_it_holds_now(seed):
    mode = "liveness" if seed % 2 else "safety"
    assert live(draw(seed, mode, "analytic")).found == {}
