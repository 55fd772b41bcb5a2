"""Edges to ask: the real one in its own process, and a bare one beside it."""

import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import zmq

from tierloop.benchmarks.rig.harness import address, stay
from tierloop.benchmarks.rig.hot import HIDDEN, policy
from tierloop.cloud.export import export
from tierloop.contract.specs import PolicySpec
from tierloop.edge.config import EdgeConfig
from tierloop.policy.artefact import Artefact, digest, pack
from tierloop.policy.mlp import Mlp
from tierloop.policy.shelf import Shelf

START_S = 30.0
START_MS = 30_000


class Served(NamedTuple):
    """Where a process listens, and its id."""

    address: str
    pid: int


def untrained(version: int) -> Artefact:
    """A policy of the benchmarks' size."""
    return export(
        Mlp.random(policy(), HIDDEN, version), version=version, parents=(), software="benchmark",
        seed=version, trained_on=(), samples={}, metrics={},
    )  # fmt: skip


def _edge(spec: PolicySpec, bind: str, cloud: str, state: Path) -> None:
    from tierloop.edge.main import run

    stay(1)
    run(
        config=EdgeConfig(),
        spec=spec,
        robots=None,
        bind=bind,
        cloud=cloud,
        state=state,
        report_to=None,
        software="benchmark",
    )


def bare_session(onnx: bytes) -> tuple[onnxruntime.InferenceSession, str]:
    """The runtime alone around a graph, on one thread, and the name of its input."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    return session, session.get_inputs()[0].name


def _bare(bind: str, onnx: bytes, inputs: int, batched: bool, ready: Event) -> None:
    """Receive, or receive all there is; infer once; send: nothing else."""
    stay(1)
    (session, name), header = bare_session(onnx), b"h" * 80
    router: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    router.bind(bind)
    ready.set()
    while True:
        asked = [router.recv_multipart()]
        while batched and router.poll(0):
            asked.append(router.recv_multipart())
        rows = [
            np.frombuffer(data, np.float32, inputs, len(data) - 4 * inputs) for _, data in asked
        ]
        features = np.stack(rows) if batched else rows[0].reshape(1, -1)
        (answers,) = session.run(None, {name: features})
        for (route, _), actions in zip(asked, answers, strict=True):
            router.send_multipart([route, header + actions.tobytes()])


@contextmanager
def edge(cloud: str | None = None) -> Iterator[Served]:
    """The edge tier as it is, a policy on its shelf; its cloud is away unless one is named."""
    bind = address()
    with tempfile.TemporaryDirectory() as folder:
        blob = pack(untrained(0))
        shelf = Shelf(Path(folder) / "policies", policy())
        shelf.stage(blob, digest(blob))
        shelf.activate(0)
        with running(_edge, policy(), bind, cloud or address(), Path(folder)) as process:
            yield Served(bind, process)


def bare(batched: bool) -> AbstractContextManager[Served]:
    """A plain ZeroMQ socket around onnxruntime and the same network."""
    return listening(_bare, untrained(0).onnx, policy().observation.size, batched)


@contextmanager
def listening(target: Callable[..., None], *args: object) -> Iterator[Served]:
    """A bare server: `target(bind, *args, ready)` in a process of its own, once it is ready."""
    bind, ready = address(), multiprocessing.get_context("spawn").Event()
    with running(target, bind, *args, ready) as process:
        if not ready.wait(START_S):
            raise RuntimeError("the bare server does not start")
        yield Served(bind, process)


@contextmanager
def running(target: Callable[..., None], *args: object) -> Iterator[int]:
    """A process of its own around `target`, ended at the end; its id."""
    context = multiprocessing.get_context("spawn")
    process: BaseProcess = context.Process(target=target, args=args, daemon=True)
    process.start()
    assert process.pid is not None
    try:
        yield process.pid
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.join(5)
        if process.is_alive():
            process.kill()


@contextmanager
def asking() -> Iterator[None]:
    """Keeps this process on the askers' core for a while."""
    before = os.sched_getaffinity(0)
    stay(0)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_ns(pid: int) -> int:
    """Processor time of all threads of a process so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def patiently(condition: Callable[[], bool], turn: Callable[[], object], what: str) -> None:
    """Takes turns until `condition` is true. Raises RuntimeError when it takes too long."""
    end = time.monotonic() + START_S
    while not condition():
        turn()
        if time.monotonic() > end:
            raise RuntimeError(what)
