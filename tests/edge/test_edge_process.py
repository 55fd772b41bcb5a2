"""The edge as a real process on real sockets: killed, flooded with garbage, given new policies."""

import random
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from zlib import crc32

import msgspec
import numpy as np
import pytest
from edge_bench import SPEC, blob, hello, observation, offer, sealed, stocked
from ports import free_address

from tierloop.contract.codec import digest64
from tierloop.contract.errors import UserError
from tierloop.contract.messages import (
    ActionChunk,
    Fetch,
    Hello,
    Offer,
    Part,
    PolicyStatus,
    Report,
    Sealed,
    Stored,
    Welcome,
)
from tierloop.edge.config import EdgeConfig
from tierloop.edge.main import run
from tierloop.edge.outbox import Outbox
from tierloop.link.channel import Client, Server
from tierloop.link.reports import ReportSink
from tierloop.link.sockets import ClientSocket, ServerSocket
from tierloop.policy.artefact import digest

ROOT = Path(__file__).parents[2]


class Edge:
    """The process under test."""

    def __init__(self, directory: Path, cloud: str, reports: str = "") -> None:
        self.address = free_address()
        self.state = directory / "state"
        self._command = [
            sys.executable, str(Path(__file__).with_name("edge_process.py")),
            self.address, cloud, str(self.state), reports,
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        self.process = subprocess.Popen(self._command, env=path)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(10)


class Device:
    """A client that keeps what was not acknowledged, and judges what comes back."""

    def __init__(self, address: str, name: str) -> None:
        self.name = name
        self.link = Client(ClientSocket(address), hello(name), "edge")
        self.welcomes = 0
        self.acked: set[int] = set()
        self.chunks: list[ActionChunk] = []

    def poll(self) -> None:
        now_ns = time.monotonic_ns()
        self.link.lost(now_ns)
        for _, message in self.link.poll(now_ns):
            if isinstance(message, Welcome):
                self.welcomes += 1
                self.acked |= set(range(message.acked))
            elif isinstance(message, Stored):
                self.acked |= {*range(message.below), *message.also}
            elif isinstance(message, ActionChunk):
                self.chunks.append(message)


class Cloud(threading.Thread):
    """Stores once what comes up, serves a policy, and keeps its word."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.address = free_address()
        self.store: dict[tuple[str, int, int], bytes] = {}
        self.received = 0
        self.faults: list[str] = []
        self.statuses: list[PolicyStatus] = []
        self.release: tuple[Offer, bytes] | None = None
        self._offered: str | None = None
        self.ending = threading.Event()

    def run(self) -> None:
        link = Server(ServerSocket(self.address))
        while not self.ending.is_set():
            now_ns = time.monotonic_ns()
            link.lost(now_ns)
            for peer, message in link.poll(now_ns):
                for answer in self._answer(message):
                    link.send(peer, answer)
            release = self.release
            if release and self._offered != release[0].digest and link.session.find("edge"):
                self._offered = release[0].digest
                link.send("edge", release[0])
            time.sleep(0.001)
        link.close()

    def _answer(self, message) -> list:
        if isinstance(message, Hello):
            return [Welcome(node="cloud", boot=1, acked=0)]
        if isinstance(message, PolicyStatus):
            self.statuses.append(message)
        if isinstance(message, Fetch):
            data = self.release[1][message.offset : message.offset + message.length]
            part = np.frombuffer(data, np.uint8)
            return [Part(digest=message.digest, offset=message.offset, data=part)]
        if isinstance(message, Sealed):
            self.received += 1
            body = zlib.decompress(message.body)
            key = (message.device, message.boot, message.seq)
            if digest64(body) != message.digest or self.store.setdefault(key, body) != body:
                self.faults.append(f"altered: {key}")
            return [Stored(device=key[0], boot=key[1], below=0, also=(key[2],))]
        return []


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    cloud = Cloud()
    cloud.start()
    yield cloud
    cloud.ending.set()
    cloud.join(5)


@contextmanager
def running(*arguments) -> Iterator[Edge]:
    edge = Edge(*arguments)
    try:
        yield edge
    finally:
        edge.kill()


@pytest.fixture
def join() -> Iterator[Callable[..., Device]]:
    """Makes devices, and closes their sockets in the end."""
    devices: list[Device] = []

    def join(edge: Edge, name: str = "arm") -> Device:
        devices.append(Device(edge.address, name))
        return devices[-1]

    yield join
    for device in devices:
        device.link.close()


def until(condition: Callable[[], bool], *devices: Device, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        for device in devices:
            device.poll()
        time.sleep(0.001)


def test_killed_again_and_again_it_loses_doubles_and_alters_nothing(tmp_path, cloud, join):
    rng = random.Random(0)
    kept = [sealed(seq, seam_rad=rng.random() / 10) for seq in range(400)]
    sink = ReportSink()
    with running(tmp_path, cloud.address, sink.address) as edge, closing(sink):
        device = join(edge)

        def push(goal: int) -> bool:
            """A device that sends what is not acknowledged, oldest first, again and again."""
            missing = [m for m in kept if m.seq not in device.acked]
            if device.link.open:
                for message in missing[:20]:
                    device.link.send(message)
                time.sleep(0.003)
            return len(device.acked) >= goal

        for goal in range(40, len(kept) + 1, 40):
            until(partial(push, goal), device)
            edge.kill()
            assert_kept(edge, cloud, device.acked, kept)
            welcomes = device.welcomes
            edge.start()
        until(lambda: device.welcomes > welcomes, device)
        opened_ns = time.monotonic_ns()

        def says(name: str, value: float) -> bool:
            reports = [r for r in sink.poll(1) if r.at_ns > opened_ns]
            return any((r.counters | r.gauges).get(name) == value for r in reports)

        until(lambda: len(cloud.store) == len(kept) and says("outbox_rows", 0), device)
        received = cloud.received
        for message in kept:
            device.link.send(message)
        until(lambda: says("duplicates", len(kept)), device)
        assert edge.stop() == 0
    assert not cloud.faults
    assert [cloud.store["arm", 7, m.seq] for m in kept] == [m.body.tobytes() for m in kept]
    assert cloud.received == received, "what had gone up went up again"
    assert Outbox(edge.state / "outbox.sqlite", 10**9).load().standing.rows == 0


def assert_kept(edge: Edge, cloud: Cloud, acked: set[int], kept: list[Sealed]) -> None:
    """After a kill: what was acknowledged is on disk or in the cloud, byte for byte."""
    outbox = Outbox(edge.state / "outbox.sqlite", 10**9)
    held = {p.name.seq: zlib.decompress(p.body) for p in outbox.lend(10_000)[0]}
    outbox._db.close()
    up = {seq: body for (_, _, seq), body in list(cloud.store.items())}
    assert acked <= held.keys() | up.keys()
    for seq, body in (*held.items(), *up.items()):
        assert body == kept[seq].body.tobytes()


def test_garbage_on_its_socket_disturbs_no_decision(tmp_path, cloud, join):
    stocked(tmp_path / "state" / "policies", 1)
    rng = random.Random(1)
    with running(tmp_path, cloud.address) as edge:
        device = join(edge)
        until(lambda: device.link.open, device)
        vandal = ClientSocket(edge.address)
        host, port = edge.address.removeprefix("tcp://").split(":")
        for seq in range(150):
            vandal.raw.send_multipart(
                [rng.randbytes(rng.randrange(200)) for _ in range(rng.randrange(1, 5))]
            )
            vandal.send(rng.randbytes(rng.randrange(200)))
            head = msgspec.msgpack.encode(["observation", "arm", 7, seq, 0, ["<f4", [4]]])
            data = len(head).to_bytes(4, "little") + head
            vandal.send(data)
            vandal.send(data + crc32(data).to_bytes(4, "little"))
            if seq % 30 == 0:
                with socket.create_connection((host, int(port))) as raw:
                    raw.sendall(rng.randbytes(500))
            device.link.send(observation(seq))
            until(lambda seq=seq: bool(device.chunks) and device.chunks[-1].seq == seq, device)
        vandal.close()
        assert edge.process.poll() is None
        assert edge.stop() == 0


@pytest.mark.process
def test_a_policy_goes_live_under_load_without_a_gap_or_a_mixed_batch(tmp_path, cloud, join):
    policies = stocked(tmp_path / "state" / "policies", 1)
    old = policies.active()
    data = blob(2, hidden=300)
    with running(tmp_path, cloud.address) as edge:
        devices = [join(edge, f"d{i}") for i in range(3)]
        until(lambda: all(d.link.open for d in devices), *devices)
        rng, sent = np.random.default_rng(0), {d.name: {} for d in devices}
        for seq in range(400):
            if seq == 50:
                cloud.release = (offer(2, digest=digest(data), size=len(data)), data)
            for device in devices:
                features = SPEC.observation.sample(rng)
                sent[device.name][seq] = features
                device.link.send(observation(seq, device.name, features=features))
            until(
                lambda seq=seq: all(d.chunks and d.chunks[-1].seq == seq for d in devices), *devices
            )
            if seq > 100 and devices[0].chunks[-20].policy_version == 2:
                break
        assert edge.stop() == 0
    new = stocked(edge.state / "policies").active()
    assert cloud.statuses[-1].state == "active"
    for device in devices:
        assert [c.seq for c in device.chunks] == list(range(seq + 1)), "a gap"
        versions = [c.policy_version for c in device.chunks]
        assert versions == sorted(versions)
        assert {1, 2} == set(versions)
        for chunk in device.chunks:
            policy = old if chunk.policy_version == 1 else new
            expected = policy.act(sent[device.name][chunk.seq][None])[0]
            assert np.allclose(chunk.actions, expected, atol=1e-5), "not the version it says"


@pytest.mark.process
def test_without_a_cloud_it_serves_and_keeps_and_reports(tmp_path, join):
    stocked(tmp_path / "state" / "policies", 1)
    sink, reports = ReportSink(), []
    with running(tmp_path, free_address(), sink.address) as edge:
        device = join(edge)
        until(lambda: device.link.open, device)
        device.link.send(observation(0))
        device.link.send(sealed(0))
        until(lambda: len(device.chunks) == 1 and device.acked == {0}, device)

        def reported() -> bool:
            reports.extend(sink.poll(50))
            return any(r.counters.get("stored") == 1 for r in reports)

        until(reported, device)
        began = time.monotonic()
        assert edge.stop() == 0
        assert time.monotonic() - began < 2
    last: Report = reports[-1]
    assert (last.process, last.role, last.labels["policy"][:2]) == ("edge", "edge", "v1")
    assert last.gauges["outbox_rows"] == 1
    assert last.counters["link.observation.received"] == 1
    sink.close()


def test_a_port_in_use_is_the_users_mistake_and_nothing_is_written(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(UserError, match="in use"):
            run(
                config=EdgeConfig(),
                spec=SPEC,
                robots=None,
                bind=address,
                cloud=free_address(),
                state=tmp_path / "s",
                report_to=None,
                software="test",
            )
    with pytest.raises(UserError, match="loopback"):
        run(
            config=EdgeConfig(),
            spec=SPEC,
            robots=None,
            bind=free_address(),
            cloud="tcp://10.0.0.1:5",
            state=tmp_path / "s",
            report_to=None,
            software="test",
        )
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_cannot_be_written_is_the_users_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another directory"):
        run(
            config=EdgeConfig(),
            spec=SPEC,
            robots=None,
            bind=free_address(),
            cloud=free_address(),
            state=tmp_path / "file" / "s",
            report_to=None,
            software="t",
        )


def test_a_run_in_this_process_ends_on_sigterm(tmp_path):
    """For the eye of the coverage tool: the same function, stopped from a thread."""
    stocked(tmp_path / "state" / "policies", 1)
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    sink = ReportSink()
    stopper = threading.Timer(0.5, lambda: signal.raise_signal(signal.SIGTERM))
    stopper.start()
    try:
        state = tmp_path / "state"
        code = run(
            config=EdgeConfig(),
            spec=SPEC,
            robots=None,
            bind=free_address(),
            cloud=free_address(),
            state=state,
            report_to=sink.address,
            software="test",
        )
    finally:
        stopper.join()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert code == 0
    assert [r.labels["policy"][:2] for r in sink.poll(1000)] == ["v1"]
    sink.close()
