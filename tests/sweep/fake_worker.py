"""Stands in for tierloop.sweep.worker: made-up figures that follow from the order alone.

The scenario's scan_dropout plays the part of what is swept; failures are asked for by name.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

order = json.loads(sys.stdin.buffer.readline())
deployment = order["deployment"]
mode, seed = deployment["scenario"]["robots"][0], deployment["seed"]
harm = deployment["scenario"]["scan_dropout"]


def stopped(*_):
    Path(order["to"]).parent.parent.joinpath(f"stopped-{os.getpid()}").touch()
    sys.exit(143)


with Path(order["to"]).parent.parent.joinpath("started").open("a") as log:
    log.write(f"{os.getpid()} {mode} {harm:g} {seed}\n")
if mode == "dies" and harm > 0.2:
    print("RuntimeError: the belt is torn")
    sys.exit(3)
if mode == "killed" and harm > 0.2:
    os.kill(os.getpid(), signal.SIGKILL)
if mode == "half":
    Path(order["to"]).write_text('{"success": {"epi')
    sys.exit(0)
if mode == "slow" and harm > 0.2:
    signal.signal(signal.SIGTERM, stopped)
    time.sleep(60)
successes = round(40 * (1 - harm)) - seed % 2
device = {"actuation": 100.0, "compute": 50.0, "radio": 1.0, "sensing": 3.0, "base": 46.0 + seed}
summary = {
    "success": {"episodes": 40, "successes": successes, "success_rate": successes / 40},
    "action_age_ms": {"n": 9, "p50": 10.0 + 100 * harm, "p90": None if mode == "mute" else 30.0},
    "energy_j": {
        "device": device,
        "robots": {"arm-0": sum(device.values())},
        "edge": 20.0,
        "cloud": 30.0,
        "acting": sum(device.values()) + 20.0,
        "battery": {"arm-0": {"battery_h": 9.5}},
    },
    "invariants": {"action_order": int(mode == "broken" and harm > 0.2), "torque": 0},
}
Path(order["to"]).write_text(json.dumps(summary))
