"""From a row of the ledger to what was seen and applied then."""

import numpy as np
from plant import PERIOD_NS, embodiment

from tierloop.contract.clock import NS_PER_S
from tierloop.contract.codec import Codec
from tierloop.contract.effects import Send
from tierloop.contract.ledger import INDEX
from tierloop.contract.messages import Sealed, Segment, Welcome
from tierloop.device.config import DeviceConfig
from tierloop.device.node import DeviceNode


def test_every_row_leads_to_its_datum():
    robot = embodiment()
    node = DeviceNode("arm", 1, robot, DeviceConfig(), "test")
    now_ns, sealed = NS_PER_S, {}
    node.on_start(now_ns)
    node.on_message(now_ns, "edge", Welcome(node="edge", boot=1, acked=0))
    for _ in range(4 * NS_PER_S // PERIOD_NS):
        now_ns += PERIOD_NS
        setpoint, effects = node.on_tick(now_ns, robot.body.read(now_ns))
        robot.body.write(setpoint)
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, Sealed):
                sealed[effect.message.seq] = Codec().decode(effect.message.body.tobytes())
    rows = node.report(now_ns, last=True).decisions
    held = rows[np.isin(rows[:, INDEX["segment"]], list(sealed))]
    assert len(held) > 30
    assert len(sealed) > 3
    for row in held:
        segment = sealed[int(row[INDEX["segment"]])]
        assert isinstance(segment, Segment)
        assert segment.captured_ns[row[INDEX["segment_row"]]] == row[INDEX["captured_ns"]]
