"""How much do the tiers add to a decision? Device to edge to device, against the bare limit.

Ours: the edge tier's own process, a session, an observation in, an action chunk back. Bare: a
process that receives the same bytes on a plain ZeroMQ socket, calls onnxruntime on the same
network, and sends the same bytes back. Both are asked in turn, block by block, one at a time.
"""

import argparse
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import onnxruntime
import zmq

from benchmarks.harness import in_turn, percentiles, show, verdict
from cloud.export import export
from contract.codec import Codec
from contract.messages import ActionChunk, Hello, Observation
from contract.specs import PolicySpec
from edge.config import EdgeConfig
from link.channel import Client
from link.sockets import ClientSocket, Poller
from policy.artefact import Artefact, digest, pack
from policy.mlp import Mlp
from policy.shelf import Shelf
from sim.scenario import Scenario, policy_spec

WARM_UP = 300


def address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def stay(side: int) -> None:
    """Keeps this process on a core, side 0 the asker's and side 1 the servers', as on two hosts."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[min(side, len(cores) - 1)]})


def serve_edge(spec: PolicySpec, bind: str, state: Path) -> None:
    """The edge tier as it is, its policy on the shelf, its cloud away."""
    from edge.main import run

    stay(1)
    run(EdgeConfig(), spec, bind, address(), state, None, "benchmark")


def serve_bare(onnx: bytes, inputs: int, bind: str, ready: Event) -> None:
    """Receive, infer, send: nothing else."""
    stay(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    name, header = session.get_inputs()[0].name, b"h" * 80
    router: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    router.bind(bind)
    ready.set()
    while True:
        route, data = router.recv_multipart()
        features = np.frombuffer(data, np.float32, inputs, len(data) - 4 * inputs)
        (rows,) = session.run(None, {name: features.reshape(1, -1)})
        router.send_multipart([route, header + rows.tobytes()])


def ask_bare(bind: str, spec: PolicySpec, count: int) -> Callable[[], list[float]]:
    dealer: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    dealer.connect(bind)
    features = np.zeros(spec.observation.size, np.float32)
    observation = Observation(device="arm", boot=1, seq=1, captured_ns=1, features=features)
    data = Codec().encode(observation)

    def block() -> list[float]:
        samples = []
        for _ in range(count):
            start_ns = time.perf_counter_ns()
            dealer.send(data)
            dealer.recv()
            samples.append((time.perf_counter_ns() - start_ns) / 1e3)
        return samples

    return block


def ask_edge(bind: str, spec: PolicySpec, count: int) -> Callable[[], list[float]]:
    boot = time.time_ns()
    hello = Hello(node="arm", role="device", boot=boot, software="benchmark", spec=spec.digest)
    transport = ClientSocket(bind)
    client = Client(transport, hello, "edge")
    features = np.zeros(spec.observation.size, np.float32)
    seq, poller = 0, Poller([transport])

    def ask(patience_s: float) -> float | None:
        nonlocal seq
        seq += 1
        start_ns = time.perf_counter_ns()
        client.send(
            Observation(
                device="arm", boot=boot, seq=seq, captured_ns=time.monotonic_ns(), features=features
            )
        )
        while time.perf_counter_ns() - start_ns < patience_s * 1e9:
            poller.wait(50)
            for _, message in client.poll(time.monotonic_ns()):
                if isinstance(message, ActionChunk) and message.seq == seq:
                    return (time.perf_counter_ns() - start_ns) / 1e3
        return None

    def block() -> list[float]:
        end = time.monotonic() + 20
        while ask(0.1) is None:
            if time.monotonic() > end:
                raise SystemExit("the edge does not answer")
        samples = [ask(5.0) for _ in range(count)]
        return [s for s in samples if s is not None]

    return block


def shelve(spec: PolicySpec, state: Path) -> Artefact:
    """Puts an untrained 256-256 policy on the edge's shelf."""
    artefact = export(
        Mlp.random(spec, (256, 256), 0), version=0, parents=(), software="benchmark", seed=0,
        trained_on=(), samples={}, metrics={},
    )  # fmt: skip
    blob = pack(artefact)
    shelf = Shelf(state / "policies", spec)
    shelf.stage(blob, digest(blob))
    shelf.activate(0)
    return artefact


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--count", type=int, default=500, help="decisions a block")
    args = parser.parse_args()
    spec = policy_spec(Scenario())
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        artefact = shelve(spec, Path(folder))
        edge_at, bare_at, ready = address(), address(), context.Event()
        servers = [
            context.Process(target=serve_edge, args=(spec, edge_at, Path(folder)), daemon=True),
            context.Process(
                target=serve_bare,
                args=(artefact.onnx, spec.observation.size, bare_at, ready),
                daemon=True,
            ),
        ]
        for server in servers:
            server.start()
        stay(0)
        ready.wait(20)
        ours, bare = ask_edge(edge_at, spec, args.count), ask_bare(bare_at, spec, args.count)
        for warm in (ours, bare):
            warm()
        our_blocks, bare_blocks = in_turn(args.blocks, ours, bare)
        for server in servers:
            assert server.pid is not None
            os.kill(server.pid, signal.SIGTERM)
            server.join(5)
    show(
        "decision round trip, one device, one decision at a time",
        {
            "device-edge-device": percentiles(np.concatenate(our_blocks)),
            "bare socket + onnxruntime": percentiles(np.concatenate(bare_blocks)),
        },
        "us",
        [verdict("round trip", our_blocks, bare_blocks, q) for q in (50, 99)],
    )


if __name__ == "__main__":
    main()
