"""The cloud as a process over real sockets: serves, stores, stops, and goes on after kill -9."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec
import psutil
import pytest

from tierloop.cloud.config import CloudConfig, LearnerConfig
from tierloop.cloud.lineage import PolicyRecord
from tierloop.cloud.main import run
from tierloop.cloud.store import Store
from tierloop.contract.errors import UserError
from tierloop.contract.messages import Fetch, Hello, Offer, Part, Stored, Welcome
from tierloop.link.channel import Client
from tierloop.link.reports import ReportSink
from tierloop.link.sockets import ClientSocket, ServerSocket
from tierloop.policy.artefact import BLOB_BYTES_MAX, digest, unpack
from tierloop.sim.scenario import Scenario, policy_spec

ROOT = Path(__file__).parents[2]
CLOUD = """
import sys
from pathlib import Path
from tierloop.cloud.config import CloudConfig, LearnerConfig
from tierloop.cloud.main import run
from tierloop.sim.scenario import policy_spec
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile
from tierloop.stack.twin import twin_of
learner = LearnerConfig(
    hidden=(16,), steps_per_round=20, twin_episodes=1, gate_episodes=1, gate_p=0.9, min_lived=30
)
config, about = CloudConfig(ray="none", niceness=5), resolve(DeploymentFile(name="one"))
spec, twin = policy_spec(about.scenario), twin_of(about, "1")
robots = about.scenario.robots
bind, state, reports = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
sys.exit(run(
    config=config, learner=learner, spec=spec, robots=robots, twin=twin, bind=bind, state=state,
    seed=1, report_to=reports, software="1",
))
"""


class Edge:
    """The client's end of a session, driven by the test."""

    def __init__(self, address, boot=1):
        spec = policy_spec(Scenario())
        hello = Hello(node="edge", role="edge", boot=boot, software="1", spec=spec.digest)
        self.client = Client(ClientSocket(address), hello, "cloud")
        self.inbox = []

    def until(self, kind, seconds=20.0):
        """The next message of that kind."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.inbox += [message for _, message in self.client.poll(time.monotonic_ns())]
            self.client.lost(time.monotonic_ns())
            for message in self.inbox:
                if isinstance(message, kind):
                    self.inbox.remove(message)
                    return message
            time.sleep(0.005)
        raise AssertionError(f"no {kind.__name__} within {seconds} s")


@pytest.fixture
def start(tmp_path, address):
    sink, running = ReportSink(), []

    def begin():
        cloud = subprocess.Popen(
            [sys.executable, "-c", CLOUD, address, str(tmp_path), sink.address], cwd=ROOT
        )
        running.append(cloud)
        return cloud, Edge(address)

    begin.sink = sink
    yield begin
    for cloud in running:
        if cloud.poll() is None:
            cloud.kill()
            cloud.wait()
    sink.close()


@pytest.fixture
def sort_segment(make_segment):
    import numpy as np

    spec = policy_spec(Scenario())
    rng = np.random.default_rng(1)

    def make(seq):
        features = np.stack([spec.observation.sample(rng) for _ in range(10)])
        applied = np.stack([spec.action.sample(rng) for _ in range(10)])
        return make_segment(seq, rows=10, spec=spec.digest, features=features, applied=applied)

    return make


@pytest.mark.process
def test_it_serves_learns_survives_kill_9_and_stops_when_told(
    start, tmp_path, address, sort_segment, seal
):
    cloud, edge = start()
    edge.until(Welcome)
    offer = edge.until(Offer)
    assert offer.version == 0
    blob = b""
    while len(blob) < offer.size:
        edge.client.send(Fetch(digest=offer.digest, offset=len(blob), length=1 << 16))
        blob += edge.until(Part).data.tobytes()
    assert digest(blob) == offer.digest
    assert unpack(blob).manifest.version == 0
    assert os.getpriority(os.PRIO_PROCESS, cloud.pid) == 5

    for seq in range(2):
        edge.client.send(seal(sort_segment(seq), deflated=True))
    assert edge.until(Stored).below >= 1
    edge.client.send(seal(sort_segment(2)))
    while edge.until(Stored).below < 3:
        pass
    os.kill(cloud.pid, signal.SIGKILL)
    cloud.wait()
    edge.client.close()

    cloud, edge = start()
    assert edge.until(Offer).digest == offer.digest
    edge.client.send(seal(sort_segment(3)))
    assert edge.until(Stored).below == 4
    phases, rounds = set(), 0
    end = time.monotonic() + 30
    while not rounds and time.monotonic() < end:
        for report in start.sink.poll(200):
            phases.add(report.labels["phase"])
            rounds = report.counters.get("rounds", 0)
        edge.client.poll(time.monotonic_ns())
    assert rounds >= 1, phases

    begun = time.monotonic()
    cloud.send_signal(signal.SIGTERM)
    assert cloud.wait(10) == 0
    assert time.monotonic() - begun < 4
    edge.client.close()
    store = Store(tmp_path / "store.sqlite")
    assert store.contiguous("arm-0", 7) == 4
    assert store.policies.next_version() >= 2
    store.close()


def test_a_port_in_use_is_the_users_mistake(start, tmp_path, address):
    def no_twin():
        raise AssertionError("nothing is played")

    nice, spec = psutil.Process().nice(), policy_spec(Scenario())
    _, edge = start()
    edge.until(Welcome)
    edge.client.close()
    with pytest.raises(UserError, match="in use"):
        run(
            config=CloudConfig(),
            learner=LearnerConfig(),
            spec=spec,
            robots=(),
            twin=no_twin,
            bind=address,
            state=tmp_path / "x",
            seed=1,
            report_to=None,
            software="1",
        )
    assert not (tmp_path / "x").exists()
    assert psutil.Process().nice() == nice


@pytest.mark.parametrize(("rounds", "why"), [(0, "in use"), (1, "no expert for task 'pick'")])
def test_no_teacher_is_needed_where_nothing_is_learnt(tmp_path, address, rounds, why):
    """It comes as far as its address, which is taken."""
    spec = msgspec.structs.replace(policy_spec(Scenario()), task="pick")
    with closing(ServerSocket(address)), pytest.raises(UserError, match=why):
        run(
            config=CloudConfig(), learner=LearnerConfig(rounds_max=rounds), spec=spec, robots=(),
            twin=lambda: None, bind=address, state=tmp_path, seed=1, report_to=None, software="1",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("blob", "why"),
    [(bytes(BLOB_BYTES_MAX + 1), "oversize"), (b"", "truncated")],
    ids=["big", "empty"],
)
def test_a_release_that_this_version_refuses_is_told_in_one_line(tmp_path, address, blob, why):
    path, record = tmp_path / "store.sqlite", PolicyRecord(3, "d", (), "released", {}, blob, ())
    with closing(Store(path)) as store:
        store.policies.record(record)
    with pytest.raises(UserError, match=rf"^{path}: cannot continue from release 3: {why}") as told:
        run(
            config=CloudConfig(ray="none", niceness=0), learner=LearnerConfig(),
            spec=policy_spec(Scenario()), robots=(), twin=lambda: None, bind=address,
            state=tmp_path, seed=1, report_to=None, software="1",
        )  # fmt: skip
    assert "\n" not in str(told.value)
