"""How long does a policy take from the cloud's offer to being in force at the edge?

Ours: the publisher of the cloud on a real socket, the edge in its own process: offer, parts,
digest, checks, warm-up, journal, switch, status. Baseline: a process that is sent the same bytes on
a plain socket, checks their hash, writes them durably, opens and tries the network, and answers.
"""

import hashlib
import os
import tempfile
import time
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import zmq
from msgspec.structs import replace

from tierloop.bench.protocol import Benchmark, Series, by_turns
from tierloop.benchmarks.rig import servers
from tierloop.benchmarks.rig.harness import address, main, stay
from tierloop.benchmarks.rig.hot import policy
from tierloop.cloud.publisher import Publisher, Release
from tierloop.contract.budget import Metric
from tierloop.contract.effects import Effects
from tierloop.contract.messages import Fetch, Hello, PolicyStatus, Welcome
from tierloop.link.channel import Server
from tierloop.link.sockets import Poller, ServerSocket
from tierloop.policy.artefact import digest, pack

PUSH = Metric("push", "ms")
_WARM_ROWS = (1, 2, 16, 64)


class Cloud:
    """A publisher on a socket, and the edge that it serves."""

    def __init__(self, bind: str) -> None:
        self.server = Server(ServerSocket(bind))
        self._poller = Poller([self.server.transport])  # type: ignore[list-item]
        self._publisher = Publisher()
        self._version, self._joined = 0, False
        self._artefact = servers.untrained(0)

    def turn(self) -> None:
        """Hears and answers what has come in."""
        self._poller.wait(20)
        now_ns = time.monotonic_ns()
        self.server.lost(now_ns)
        for peer, message in self.server.poll(now_ns):
            if isinstance(message, Hello):
                self.server.send(peer, Welcome(node="cloud", boot=1, acked=0))
                self._apply(self._publisher.joined(message.node))
                self._joined = True
            elif isinstance(message, Fetch):
                self._apply(self._publisher.fetch(peer, message))
            elif isinstance(message, PolicyStatus):
                if message.state == "refused":
                    raise RuntimeError(f"v{message.version} was refused: {message.reason}")
                self._publisher.status(peer, message)

    def meet(self) -> None:
        """Waits for the edge."""
        servers.patiently(lambda: self._joined, self.turn, "the edge does not come")

    def push(self) -> float:
        """Releases the next version; milliseconds until the edge says that it acts."""
        self._version += 1
        manifest = replace(self._artefact.manifest, version=self._version)
        blob = pack(self._artefact._replace(manifest=manifest))
        release = Release(self._version, digest(blob), (), blob)
        self.turn()
        self._apply(self._publisher.remind())  # an edge is sent so much between two reminders
        begun_ns = time.perf_counter_ns()
        self._apply(self._publisher.release(release))
        servers.patiently(
            lambda: self._version in self._publisher.active.values(),
            self.turn,
            "the policy does not come alive",
        )
        return (time.perf_counter_ns() - begun_ns) / 1e6

    def block(self) -> list[float]:
        return [self.push()]

    def _apply(self, effects: Effects) -> None:
        for effect in effects:
            self.server.send(effect.to, effect.message)  # type: ignore[union-attr]


def _bare(bind: str, folder: str, ready: Event) -> None:
    """Receives, hashes, writes, opens, tries, answers."""
    import onnxruntime

    stay(1)
    router: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    router.bind(bind)
    ready.set()
    features = np.zeros((64, policy().observation.size), np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    while True:
        route, wanted, blob, onnx = router.recv_multipart()
        if hashlib.sha256(blob).digest() != wanted:
            raise RuntimeError("damaged")
        with (Path(folder) / "new").open("wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())
        (Path(folder) / "new").rename(Path(folder) / "policy")
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        for rows in _WARM_ROWS:
            session.run(None, {session.get_inputs()[0].name: features[:rows]})
        router.send_multipart([route, b"active"])


def run(seconds: float) -> list[Series]:
    bind = address()
    cloud = Cloud(bind)
    dealer: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(cloud.server),
        servers.edge(bind),
        servers.listening(_bare, folder) as plain,
        servers.asking(),
        dealer,
    ):
        cloud.meet()
        dealer.connect(plain.address)
        artefact = servers.untrained(1)
        blob = pack(artefact)

        def bare_block() -> list[float]:
            begun_ns = time.perf_counter_ns()
            dealer.send_multipart([hashlib.sha256(blob).digest(), blob, artefact.onnx])
            while not dealer.poll(20):
                cloud.turn()
            dealer.recv()
            return [(time.perf_counter_ns() - begun_ns) / 1e6]

        cloud.block()
        bare_block()
        ours, bare_blocks = by_turns(seconds, cloud.block, bare_block)
    return [Series(PUSH, ours, bare_blocks)]


BENCHMARK = Benchmark(
    "push",
    "How long does a policy take from the cloud's offer to being in force at an edge?",
    "the same bytes on a plain socket, hashed, written durably, opened and tried",
    (PUSH,),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
