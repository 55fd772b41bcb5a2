"""The twin: a body's own device node in a world of its own, on a clock turned by hand.

What acts is what acts in life: chunks, arbiter, prediction, blending and guard at the control
rate. Answers come as late as the deployment's links and hardware say. The cloud does not know the
device tier, so the roof hands it this (docs/decisions/0006).
"""

import heapq
from collections.abc import Callable
from functools import partial
from math import exp

import msgspec
import numpy as np

from tierloop.cloud.ingest import open_body
from tierloop.cloud.rollout import PARTS_PER_EPISODE, TWIN, Answer, Twin
from tierloop.contract.clock import NS_PER_MS, NS_PER_US, period_ns
from tierloop.contract.codec import Codec
from tierloop.contract.messages import Observation, Segment
from tierloop.contract.specs import FloatArray
from tierloop.device.config import DeviceConfig
from tierloop.device.unlinked import HEADER_BYTES, Unlinked
from tierloop.link.model import LinkModel
from tierloop.link.spec import LinkSpec
from tierloop.policy.work import work
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.stack.config import hardware
from tierloop.stack.config.deployment import Deployment

_Arrival = tuple[int, int, Observation, FloatArray]
"""When an answer comes, the question's number, the question, the answer's rows."""

_Inference = tuple[float, float]
"""Median, ns, and jitter of an answer, as a profile has them."""

GAP_S = 10.0
"""No part is waited for longer than this."""


def twin_of(deployment: Deployment, software: str) -> Callable[[], Twin]:
    """Makes the twin of a deployment's bodies, in whatever process it is called."""
    edge = deployment.edge
    infer = hardware.load(edge.hardware).jobs.infer
    learnt = work(policy_spec(deployment.scenario), deployment.learner.hidden)
    return partial(
        DeviceTwin,
        deployment.scenario,
        deployment.device,
        deployment.links.device,
        (infer.us_of(learnt, 1) * NS_PER_US, infer.jitter),
        round(edge.batch_window_ms * NS_PER_MS),
        software,
    )


class DeviceTwin:
    """One twin world. Not thread-safe. Implements the cloud's `Twin`."""

    def __init__(
        self,
        scenario: Scenario,
        device: DeviceConfig,
        link: LinkSpec,
        infer: _Inference,
        window_ns: int,
        software: str,
    ) -> None:
        """`link` lies between body and edge, both ways; `infer` is the edge's time for one
        observation, which waits `window_ns` first."""
        from tierloop.sim.embody import Stage

        self._stage, self._link, self._infer = Stage(scenario), link, infer
        self._window_ns, self._software = window_ns, software
        self._tick_ns = period_ns(scenario.control_hz)
        self._device = msgspec.structs.replace(device, segment_decisions=_room(scenario))
        self._codec = Codec()

    def live(
        self, seed: int, answer: Answer, version: int, posture_rad: FloatArray | None = None
    ) -> Segment:
        """One episode, until PARTS_PER_EPISODE are judged; `answer` acts as policy `version`."""
        robot = self._stage.begin(seed, posture_rad)
        device = Unlinked(TWIN, 0, robot, self._device, self._software)
        service = EdgeService(self._link, self._infer, self._window_ns, seed)
        now_ns = judged = 0
        while judged < PARTS_PER_EPISODE:
            for at_ns, _, answered, rows in service.arrived(now_ns):
                device.answer(at_ns, answered, rows, version)
            asked = device.tick(now_ns)
            judged += len(device.reading.outcomes)
            if asked is not None:
                service.ask(now_ns, asked, answer(asked.features[np.newaxis])[0])
            now_ns += self._tick_ns
        uplink = device.node.uplink
        uplink.seal()
        (sealed,) = uplink.due(now_ns)
        return open_body(self._codec, sealed.body.tobytes())


class EdgeService:
    """The way to the edge, its work, and the way back."""

    def __init__(self, link: LinkSpec, infer: _Inference, window_ns: int, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 1])
        self._up, self._down = (LinkModel(way, self._rng) for way in link.directions())
        self._infer_ns, self._jitter = infer
        self._window_ns = window_ns
        self._free_ns = 0
        self._under_way: list[_Arrival] = []

    def ask(self, now_ns: int, asked: Observation, rows: FloatArray) -> None:
        """Puts a question on the link at `now_ns`; its answer will be `rows`, float32[H, A]."""
        for arrival in self._up.carry(now_ns, asked.features.nbytes + HEADER_BYTES):
            work_ns = round(self._infer_ns * exp(self._jitter * self._rng.standard_normal()))
            begun_ns = max(self._free_ns, arrival.at_ns + self._window_ns)
            self._free_ns = begun_ns + work_ns
            for back in self._down.carry(self._free_ns, rows.nbytes + HEADER_BYTES):
                heapq.heappush(self._under_way, (back.at_ns, asked.seq, asked, rows))

    def arrived(self, now_ns: int) -> list[_Arrival]:
        """The answers that have come by `now_ns`, in order."""
        come = []
        while self._under_way and self._under_way[0][0] <= now_ns:
            come.append(heapq.heappop(self._under_way))
        return come


def _room(scenario: Scenario) -> int:
    """More decisions than any episode has: it becomes one segment."""
    return round(2 * PARTS_PER_EPISODE * (scenario.episode_s + GAP_S) * scenario.decision_hz)
