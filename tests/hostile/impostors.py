"""A server that lies: in the place of an edge towards devices, of a cloud towards an edge.

Every second answer is as it should be, so that sessions stay open and the lies are heard.
"""

import contextlib
import random
import time
from typing import Any

import msgspec
import numpy as np
import zmq
from frames import Frames, resealed

from tierloop.contract import messages as m
from tierloop.contract.codec import Codec
from tierloop.contract.errors import WireError
from tierloop.link.address import IPC, hold
from tierloop.sim.scenario import Scenario, policy_spec

SPEC = policy_spec(Scenario(task="reach", body="plant"))
BURST = {"edge": 24, "cloud": 200}
"""Lies sent after each message that came in: devices speak often, an edge to its cloud rarely."""
TOWARDS = {
    "edge": (m.ActionChunk, m.Welcome, m.Stored, m.Echo, m.Refused),
    "cloud": (m.Offer, m.Part, m.Stored, m.Welcome, m.Echo, m.Refused),
}
"""What a client of that server listens to."""


class Impostor:
    """One lying server; a front of `attackers`."""

    broken = 0

    def __init__(
        self, context: Any, plan: dict[str, Any], seed: int, names: tuple[str, ...]
    ) -> None:
        self.rng = random.Random(seed)
        self.role = plan["role"]
        self.left, self.sent, self.full, self.heard = plan["frames"], 0, 0, 0
        self.frames = Frames(seed, names, SPEC)
        self.frames.boot = time.time_ns()
        self.every = self.frames.every()
        self.codec = Codec()
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDHWM, 1000)
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        if plan["at"].startswith(IPC):
            hold(plan["at"])
        self.socket.bind(plan["at"])

    def turn(self) -> None:
        for _ in range(64):
            if not self.left or not self.socket.poll(0):
                return
            route, *parts = self.socket.recv_multipart()
            self.heard += 1
            with contextlib.suppress(WireError):
                said = self.codec.decode(b"".join(parts))
                if isinstance(said, m.Hello):
                    self.frames.name, self.frames.boot = said.node, said.boot
                self._answer(route, said)
                self._lie(route, said)

    def _answer(self, route: bytes, said: m.Message) -> None:
        """What an honest server would say, as a rule."""
        now_ns = time.monotonic_ns()
        answer: m.Message | None = None
        match said:
            case m.Hello():
                answer = m.Welcome(node=self.role, boot=1, acked=0)
            case m.Beat():
                answer = m.Echo(
                    seq=said.seq, sent_ns=said.sent_ns, received_ns=now_ns, echoed_ns=now_ns
                )
            case m.Observation() if self.rng.random() < 0.5:
                answer = self._chunk(said)
            case m.Sealed() if self.rng.random() < 0.5:
                answer = m.Stored(device=said.device, boot=said.boot, below=said.seq + 1)
        if answer is not None:
            self._send(route, self.codec.encode(answer))

    def _chunk(self, said: m.Observation) -> m.ActionChunk:
        rows = np.zeros((SPEC.horizon, SPEC.action.size), np.float32)
        return m.ActionChunk.answering(
            said, SPEC, rows, 1, held_ns=1000, compute_ns=1000, arrived_ns=time.monotonic_ns()
        )

    def _lie(self, route: bytes, said: m.Message) -> None:
        if isinstance(said, m.Observation | m.Sealed):
            self.frames.asked = said.seq
        if isinstance(said, m.Observation):
            self.frames.true = {
                field: value
                for field, value in msgspec.structs.asdict(self._chunk(said)).items()
                if field != "actions"
            }
        for _ in range(min(BURST[self.role], self.left)):
            drawn = self.rng.random()
            if drawn < 0.2:
                frame = self.frames.raw()
            elif drawn < 0.4:
                frame = resealed(self.frames.lie(), self.rng)
            elif drawn < 0.5 and isinstance(said, m.Observation):
                frame = self.frames.lie(m.ActionChunk)
            else:
                frame = next(self.every, None) or self.frames.lie(
                    self.rng.choice(TOWARDS[self.role])
                )
            if self._send(route, frame):
                self.sent, self.left = self.sent + 1, self.left - 1
            else:
                self.full += 1

    def _send(self, route: bytes, frame: bytes) -> bool:
        try:
            self.socket.send_multipart([route, frame], zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True
