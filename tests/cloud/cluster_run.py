"""Runs a Ray backend beside the serial one and prints what it saw, as one line of JSON.

A process of its own: Ray is started once in a process, and what it leaves behind is looked at
from outside.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from tierloop.cloud.backend import Cancelled, Fit, Hands, SerialBackend
from tierloop.cloud.config import CloudConfig, LearnerConfig
from tierloop.cloud.ray.cluster import RayBackend
from tierloop.cloud.rollout import Play
from tierloop.policy.mlp import Mlp
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.sim.tasks.sort.expert import Expert
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile
from tierloop.stack.twin import twin_of

SCENARIO = Scenario(belt_low_m_s=0.1, belt_high_m_s=0.15, episode_s=5.0)
LEARNER = LearnerConfig(hidden=(16,), steps_per_round=50)
DEPLOYMENT = resolve(DeploymentFile(name="twin", scenario=SCENARIO))
ABOUT = (policy_spec(SCENARIO), LEARNER, twin_of(DEPLOYMENT, "1"))
NICENESS = 12


def listening():
    """Every TCP address that this process or a descendant listens at."""
    me = psutil.Process()
    found = set()
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {
                c.laddr.ip.removeprefix("::ffff:")
                for c in process.net_connections("tcp")
                if c.status == psutil.CONN_LISTEN
            }
    return sorted(found)


def kill_one(backend):
    victim = backend.pids()[0]
    threading.Timer(0.3, os.kill, (victim, signal.SIGKILL)).start()
    return victim


def same(one, other):
    return all(
        np.array_equal(a.features, b.features) and a.outcomes == b.outcomes
        for mine, theirs in zip(one, other, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )


def main(state):
    backend = RayBackend(ABOUT, CloudConfig(workers=2, niceness=NICENESS), Path(state))
    backend.start()
    started = psutil.Process().children(recursive=True)
    saw = {"listening": listening(), "nice": [os.getpriority(0, p) for p in backend.pids()]}
    saw["environment"] = sorted(
        {p.environ().get("RAY_AUTH_MODE") for p in started if p.name() in ("raylet", "gcs_server")}
    )

    spec = policy_spec(SCENARIO)
    policy = Mlp.random(spec, (16,), 1)
    jobs = [Play(policy, 1, (seed,), 0.5) for seed in range(6)]
    serial = SerialBackend(Hands(*ABOUT))
    expected = serial.play(jobs)
    saw["same"] = same(backend.play(jobs), expected)

    victim = kill_one(backend)
    saw["same_after_kill"] = same(backend.play(jobs), expected)
    saw["victim_replaced"] = victim not in backend.pids()

    features = np.concatenate([s.features for done in expected for s in done])
    fit = Fit(None, features, Expert(spec).label(features), 3)
    saw["same_fit"] = backend.fit(fit).policy.encode() == serial.fit(fit).policy.encode()

    threading.Timer(0.3, backend.cancel).start()
    begun = time.monotonic()
    try:
        backend.play(jobs * 99)
    except Cancelled:
        saw["cancelled_s"] = time.monotonic() - begun
    begun = time.monotonic()
    backend.close()
    saw["close_s"] = time.monotonic() - begun
    saw["alive"] = [p.pid for p in started if p.is_running() and p.status() != "zombie"]
    saw["files"] = [str(p) for p in Path(state).iterdir()]
    print(json.dumps(saw))


if __name__ == "__main__":
    main(sys.argv[1])
