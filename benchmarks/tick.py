"""What does the stack itself cost in a control tick? Beside the body's read, physics and write.

The device's own loop, its link to an edge that answers every observation from a thread of its
own, its node and the sorting cell's arm, driven as fast as it goes on a clock that advances one
control period a tick. Timed apart: the body (physics step, read, write) and everything else.
"""

import argparse
import time

import numpy as np

from benchmarks.harness import percentiles, show
from contract.clock import ManualClock
from contract.effects import Send
from contract.messages import ActionChunk, Observation
from device.config import DeviceConfig
from device.node import DeviceNode
from device.rate import Rate
from policy.mlp import Mlp
from sim.scenario import Scenario, embody


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=6000)
    args = parser.parse_args()
    robot = embody(Scenario(), seed=1)
    body, spec = robot.body, robot.policy
    policy = Mlp.random(spec, (256, 256), 0)
    node, clock = DeviceNode("arm", 1, robot, DeviceConfig(), "benchmark"), ManualClock()
    rate = Rate(body.spec.control_period_ns, 0)
    node.on_start(0)
    body.read(0)
    own, bodily, decisions = [], [], []
    answer: ActionChunk | None = None
    for _ in range(args.ticks):
        now_ns = clock.advance(body.spec.control_period_ns)
        begun = time.perf_counter_ns()
        rate.tick(now_ns)
        if answer is not None:
            node.on_message(now_ns, "edge", answer)
            answer = None
        linked = time.perf_counter_ns()
        reading = body.read(now_ns)
        read = time.perf_counter_ns()
        setpoint, effects = node.on_tick(now_ns, reading)
        chosen = time.perf_counter_ns()
        body.write(setpoint)
        written = time.perf_counter_ns()
        node.on_written(now_ns)
        for effect in effects:
            assert isinstance(effect, Send)
            node.on_sent(now_ns, effect.message, 200)
        ended = time.perf_counter_ns()
        own.append((linked - begun) + (chosen - read) + (ended - written))
        bodily.append((read - linked) + (written - chosen))
        decisions.append(bool(effects))
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, Observation):
                answer = reply(effect.message, policy)
    warm = args.ticks // 10
    ours = np.array(own[warm:]) / 1e3
    bare = np.array(bodily[warm:]) / 1e3
    deciding = np.array(decisions[warm:])
    show(
        "one 240 Hz control tick",
        {
            "stack, all ticks": percentiles(ours),
            "stack, ticks that decide": percentiles(ours[deciding]),
            "body: read, physics, write": percentiles(bare),
        },
        "us",
        [f"stack p50 is {np.median(ours) / np.median(bare):.2f}x the bare body's"],
    )


def reply(observation: Observation, policy: Mlp) -> ActionChunk:
    """What an edge would send back."""
    spec = policy.spec
    return ActionChunk(
        device=observation.device, boot=observation.boot, seq=observation.seq,
        captured_ns=observation.captured_ns, period_ns=spec.period_ns,
        valid_until_ns=observation.captured_ns + spec.validity_ns, policy_version=0, tier="edge",
        batch=1, held_ns=0, compute_ns=0, actions=policy.forward(observation.features[None])[0],
    )  # fmt: skip


if __name__ == "__main__":
    main()
