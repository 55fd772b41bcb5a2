"""Robots that ask an edge for decisions, some at once, and how long each waits."""

import time
from collections.abc import Sequence

import numpy as np
import zmq

from tierloop.benchmarks.rig.hot import observation
from tierloop.contract.codec import Codec
from tierloop.contract.messages import ActionChunk, Hello, Observation
from tierloop.contract.specs import PolicySpec
from tierloop.link.channel import Client
from tierloop.link.sockets import ClientSocket, Poller

PATIENCE_S = 5.0


class Robots:
    """`count` sessions with an edge, each of which asks once a round."""

    def __init__(self, address: str, spec: PolicySpec, count: int) -> None:
        self._features = np.zeros(spec.observation.size, np.float32)
        self._boot, self._seq = time.time_ns(), 0
        self._names = [f"robot-{count}-{i}" for i in range(count)]
        self._sockets = [ClientSocket(address) for _ in self._names]
        self._clients = [
            Client(socket, Hello(node=name, role="device", boot=self._boot, software="benchmark",
                                 spec=spec.digest), "edge")
            for name, socket in zip(self._names, self._sockets, strict=True)
        ]  # fmt: skip
        self._poller = Poller(self._sockets)

    def wake(self) -> None:
        """Reopens sessions that have fallen asleep. Raises RuntimeError if one stays shut."""
        end = time.monotonic() + 20
        while None in self.round(0.2):
            if time.monotonic() > end:
                raise RuntimeError("the edge does not answer")

    def round(self, patience_s: float = PATIENCE_S) -> Sequence[float | None]:
        """All ask, one after the other; microseconds each waited, None where none was answered."""
        self._seq += 1
        asked_ns, waited = [], [None] * len(self._clients)  # type: list[int], list[float | None]
        for name, client in zip(self._names, self._clients, strict=True):
            asked_ns.append(time.perf_counter_ns())
            client.send(
                Observation(
                    device=name, boot=self._boot, seq=self._seq,
                    captured_ns=time.monotonic_ns(), features=self._features,
                )
            )  # fmt: skip
        missing, end_ns = len(waited), time.perf_counter_ns() + patience_s * 1e9
        while missing and time.perf_counter_ns() < end_ns:
            ready = self._poller.wait(20) or range(len(self._clients))
            for i in ready:
                for _, message in self._clients[i].poll(time.monotonic_ns()):
                    if isinstance(message, ActionChunk) and message.seq == self._seq:
                        waited[i] = (time.perf_counter_ns() - asked_ns[i]) / 1e3
                        missing -= 1
        return waited

    def block(self, rounds: int) -> list[float]:
        """What was waited in some rounds. Raises RuntimeError if a decision was lost."""
        waited = [w for _ in range(rounds) for w in self.round()]
        answered = [w for w in waited if w is not None]
        if len(answered) < len(waited):
            raise RuntimeError(f"{len(waited) - len(answered)} decisions were not answered")
        return answered


class BareRobots:
    """The same bytes on plain sockets."""

    def __init__(self, address: str, spec: PolicySpec, count: int) -> None:
        self._sockets: list[zmq.Socket[bytes]] = [
            zmq.Context.instance().socket(zmq.DEALER) for _ in range(count)
        ]
        for socket in self._sockets:
            socket.setsockopt(zmq.RCVTIMEO, round(1000 * PATIENCE_S))
            socket.connect(address)
        self._data = Codec().encode(observation(spec, 1))

    def wake(self) -> None:
        """Nothing sleeps here."""

    def block(self, rounds: int) -> list[float]:
        """Microseconds each waited."""
        waited = []
        for _ in range(rounds):
            asked_ns = []
            for socket in self._sockets:
                asked_ns.append(time.perf_counter_ns())
                socket.send(self._data)
            for begun_ns, socket in zip(asked_ns, self._sockets, strict=True):
                try:
                    socket.recv()
                except zmq.Again:
                    raise RuntimeError("the bare server does not answer") from None
                waited.append((time.perf_counter_ns() - begun_ns) / 1e3)
        return waited
