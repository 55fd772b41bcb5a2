"""The attackers, one process on one core: a plan comes in on standard input, counts go out.

    {"seed": 1, "core": 1, "until_s": 600, "names": [...], "fronts": [{"at": ..., "kind": ...}]}

A front is one endpoint: "clients" of a server as strangers or (`insider`) under a name of the
deployment; "pushers" at the roof's sink; "server" in the place of an edge or a cloud. Each sends
`frames` frames and stops. Sockets of libzmq carry whole messages; `zmtp.Breaker` does the rest.
"""

import contextlib
import os
import random
import signal
import sys
import time
from functools import partial
from typing import Any

import msgspec
import zmq
from frames import Frames, resealed
from impostors import Impostor
from zmtp import Breaker

from tierloop.contract import messages as m
from tierloop.contract.clock import NS_PER_MS
from tierloop.sim.scenario import Scenario, policy_spec

SPEC = policy_spec(Scenario(task="reach", body="plant"))
TURN = 32
"""Frames a front sends before the next one has its turn."""
RAMP = 4
"""Clients that a front opens in a turn, until it has all: a server takes a hundred at a time."""
SLOW = 0.2
"""The share of clients that never read what they are answered."""
BEAT_NS = 200 * NS_PER_MS


class Front:
    """Many clients of one server."""

    def __init__(
        self, context: Any, plan: dict[str, Any], seed: int, names: tuple[str, ...]
    ) -> None:
        self.rng = random.Random(seed)
        self.left, self.sent, self.full, self.heard = plan["frames"], 0, 0, 0
        self.role, self.insider = plan["role"], plan.get("insider", "")
        self.roof = plan["kind"] == "pushers"
        self.frames = Frames(seed, ("evil",) if self.roof else names, SPEC)
        self.frames.boot = time.time_ns()
        if self.insider:
            self.frames.name = self.insider
        self.every = self.frames.every()
        kind = zmq.PUSH if self.roof else zmq.DEALER
        self.clients: list[tuple[Any, bool]] = []
        self._grow = partial(_socket, context, kind, plan["at"])
        self._many = plan["clients"]
        self.breaker = Breaker(plan["at"], self.rng)
        self._hello_ns = self._beat_ns = 0

    @property
    def broken(self) -> int:
        """Connections that broke off in the midst of what ZMTP says."""
        return self.breaker.struck

    def turn(self) -> None:
        now_ns = time.monotonic_ns()
        for _ in range(min(RAMP, self._many - len(self.clients))):
            self.clients.append(self._grow(slow=self.rng.random() < SLOW))
        for _ in range(min(TURN, self.left)):
            if self.rng.random() < 0.005:
                self.breaker.strike()
            parts = self._next()
            with contextlib.suppress(zmq.ZMQError):
                try:
                    self.rng.choice(self.clients)[0].send_multipart(parts, zmq.NOBLOCK)
                    self.sent, self.left = self.sent + 1, self.left - 1
                except zmq.Again:
                    self.full += 1
        for socket, slow in self.rng.sample(self.clients, min(8, len(self.clients))):
            while not slow and not self.roof and socket.poll(0):
                socket.recv_multipart()
                self.heard += 1
        if self.insider:
            self._stay(now_ns)

    def _stay(self, now_ns: int) -> None:
        """Keeps the insider's session: the first client has it."""
        socket = self.clients[0][0]
        with contextlib.suppress(zmq.Again):
            if now_ns > self._hello_ns:
                self._hello_ns = now_ns + 5 * BEAT_NS
                socket.send(self.frames.hello(self.role), zmq.NOBLOCK)
            if now_ns > self._beat_ns:
                self._beat_ns = now_ns + BEAT_NS
                socket.send(self.frames.beat(), zmq.NOBLOCK)
            for _ in range(min(4, self.left)):
                said = self.frames.sealed() if self.rng.random() < 0.5 else self.frames.lie()
                socket.send(said, zmq.NOBLOCK)
                self.sent, self.left = self.sent + 1, self.left - 1

    def _next(self) -> list[bytes]:
        drawn = self.rng.random()
        if drawn < 0.3:
            return [self.frames.raw()]
        if drawn < 0.5:
            return [resealed(self.frames.lie(), self.rng)]
        if drawn < 0.52:
            return [self.frames.raw()[:200] for _ in range(self.rng.randrange(2, 12))]
        if drawn < 0.6:
            return [self._claim()]
        if drawn < 0.7 and (frame := next(self.every, None)) is not None:
            return [frame]
        return [self.frames.lie()]

    def _claim(self) -> bytes:
        """A Hello as it should be, under a name of the deployment or none."""
        frames, mine = self.frames, (self.frames.name, self.frames.boot)
        frames.name = self.rng.choice((*frames.names, f"evil-{self.rng.randrange(3000)}"))
        frames.boot = self.rng.choice((0, 1, time.time_ns(), 2**63 - 2, 2**63 - 1))
        said = frames.hello(self.rng.choice(("device", "edge", self.role)))
        frames.name, frames.boot = mine
        return said if not self.roof else frames.lie(m.Report)


def _socket(context: Any, kind: int, address: str, slow: bool) -> tuple[Any, bool]:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, 64)
    socket.setsockopt(zmq.RECONNECT_IVL, 500)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 8000)
    if slow:
        socket.setsockopt(zmq.RCVHWM, 1)
        socket.setsockopt(zmq.RCVBUF, 4096)
    socket.connect(address)
    return socket, slow


def main() -> int:
    plan = msgspec.json.decode(sys.stdin.buffer.read())
    os.sched_setaffinity(0, {plan["core"]})
    os.nice(5)
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 8192)
    names = tuple(plan["names"])
    fronts: list[Front | Impostor] = []
    for number, front in enumerate(plan["fronts"]):
        seed = plan["seed"] * 1000 + number
        kind = Impostor if front["kind"] == "server" else Front
        own = zmq.Context() if kind is Impostor else context  # its thread waits for no other's
        fronts.append(kind(own, front, seed, names))
    end_s = time.monotonic() + plan["until_s"]
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    while not stopped and time.monotonic() < end_s and any(front.left for front in fronts):
        before = sum(front.sent for front in fronts)
        for front in fronts:
            front.turn()
        if sum(front.sent for front in fronts) == before:
            time.sleep(0.002)
    told = [{"sent": f.sent, "full": f.full, "heard": f.heard, "broken": f.broken} for f in fronts]
    print(msgspec.json.encode(told).decode(), flush=True)
    context.destroy(linger=0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
