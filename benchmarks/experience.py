"""How long does experience take until it is safe? From the device to the edge's durable commit.

Ours: segments from a device's session to the edge's own process, until it has acknowledged each.
Baseline: the same bytes on a plain socket into one SQLite table, one durable commit for what is
there.
"""

import sqlite3
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import zmq
from msgspec.structs import replace

from tierloop.bench.protocol import Benchmark, Series, by_turns
from tierloop.benchmarks.rig import servers
from tierloop.benchmarks.rig.harness import main, stay
from tierloop.benchmarks.rig.hot import policy
from tierloop.benchmarks.rig.samples import messages
from tierloop.contract.budget import Metric
from tierloop.contract.codec import Codec, digest64
from tierloop.contract.messages import Hello, Sealed, Segment, Stored
from tierloop.link.channel import Client
from tierloop.link.sockets import ClientSocket, Poller

SEGMENTS = 16
"""Sent at once, as after an outage; a sample is the time until all are safe, by their number."""

BATCHES = 4
"""A block."""

EXPERIENCE = Metric("experience", "us")


class Device:
    """A session that sends segments."""

    def __init__(self, edge: str) -> None:
        socket = ClientSocket(edge)
        self._boot, self._seq, self._below = time.time_ns(), 0, 0
        hello = Hello(node="arm-0", role="device", boot=self._boot, software="benchmark",
                      spec=policy().digest)  # fmt: skip
        self._client, self._poller = Client(socket, hello, "edge"), Poller([socket])
        segment = messages()["Segment"]
        assert isinstance(segment, Segment)
        self._segment, self._codec = replace(segment, boot=self._boot), Codec()

    def meet(self) -> None:
        """Waits until the session is open."""
        servers.patiently(lambda: self._client.open, self._hear, "the edge does not answer")

    def send(self) -> float:
        """Microseconds a segment until all of a batch are acknowledged."""
        self.meet()
        sealed = [self._seal(self._seq + i) for i in range(SEGMENTS)]
        self._seq += SEGMENTS
        begun_ns = time.perf_counter_ns()
        for one in sealed:
            if not self._client.send(one):
                raise RuntimeError("the link dropped a segment")
        servers.patiently(
            lambda: self._below >= self._seq, self._hear, "segments are not acknowledged"
        )
        return (time.perf_counter_ns() - begun_ns) / SEGMENTS / 1e3

    def _seal(self, seq: int) -> Sealed:
        body = self._codec.encode(replace(self._segment, seq=seq))
        return Sealed(device="arm-0", boot=self._boot, seq=seq, digest=digest64(body),
                      body=np.frombuffer(body, np.uint8))  # fmt: skip

    def _hear(self) -> None:
        """Notes below which number all is safe."""
        self._poller.wait(20)
        for _, message in self._client.poll(time.monotonic_ns()):
            if isinstance(message, Stored):
                self._below = max(self._below, message.below)


def _bare(bind: str, folder: str, ready: Event) -> None:
    """Takes what there is, commits it, says how much it was."""
    stay(1)
    db = sqlite3.connect(Path(folder) / "bare.sqlite", isolation_level=None)
    db.execute("PRAGMA journal_mode=wal")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE parcels (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    router: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    router.bind(bind)
    ready.set()
    while True:
        asked = [router.recv_multipart()]
        while router.poll(0):
            asked.append(router.recv_multipart())
        db.execute("BEGIN")
        db.executemany("INSERT INTO parcels (body) VALUES (?)", [(data,) for _, data in asked])
        db.execute("COMMIT")
        router.send_multipart([asked[0][0], str(len(asked)).encode()])


def run(seconds: float) -> list[Series]:
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.edge() as edge,
        servers.listening(_bare, folder) as plain,
        servers.asking(),
    ):
        device = Device(edge.address)
        dealer: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        dealer.connect(plain.address)
        data = Codec().encode(messages()["Sealed"])

        def bare_block() -> list[float]:
            found = []
            for _ in range(BATCHES):
                begun_ns, safe = time.perf_counter_ns(), 0
                for _ in range(SEGMENTS):
                    dealer.send(data)
                while safe < SEGMENTS:
                    if not dealer.poll(servers.START_MS):
                        raise RuntimeError("the bare server does not answer")
                    safe += int(dealer.recv())
                found.append((time.perf_counter_ns() - begun_ns) / SEGMENTS / 1e3)
            return found

        def block() -> list[float]:
            return [device.send() for _ in range(BATCHES)]

        block()
        bare_block()
        ours, bare_blocks = by_turns(seconds, block, bare_block)
    return [Series(EXPERIENCE, ours, bare_blocks)]


BENCHMARK = Benchmark(
    "experience",
    "How long does a segment take from a device until the edge holds it durably?",
    "the same bytes on a plain socket into one SQLite table, one durable commit a batch",
    (EXPERIENCE,),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
