"""Answers observations: collects them into batches, runs the policy, sends action chunks.

A policy that raises is faulty at once. A policy whose batches are of no use (not a number for any
robot, or all past their validity) is faulty after USELESS_BATCHES in a row over USELESS_NS. One
good answer in a batch resets the count: a single robot that gets no numbers does not stop the rest.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tierloop.contract.account import Account
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.effects import Compute, Effects, Send, Timer
from tierloop.contract.messages import ActionChunk, Observation
from tierloop.contract.policy import Policy
from tierloop.contract.specs import FloatArray, PolicySpec, finite
from tierloop.edge.batcher import Batch, Batcher, Request
from tierloop.edge.config import EdgeConfig

SERVE, INFER = "serve", "infer"
"""The timer that starts a batch, and the job that answers it."""

ASIDE = "infer"
"""The lane of an engine that was slower than a decision period, so that the sockets go on."""

USELESS_BATCHES, USELESS_NS = 3, NS_PER_S
"""Batches in a row without an answer of use, and how long they took, that make an engine faulty."""

_F4 = np.dtype(np.float32)

OnFault = Callable[[int, Policy, str], Effects]


class Serving:
    """One batch at a time, each with the one policy in force when it began.

    The first observation to arrive sets a timer; a window of 0 sets it to "now", which a shell
    honours after everything that came in together, so that it forms one batch.
    """

    def __init__(
        self, config: EdgeConfig, spec: PolicySpec, account: Account, on_fault: OnFault
    ) -> None:
        deadline_ns = round(config.deadline_ms * NS_PER_MS)
        self.batcher = Batcher(spec.observation.size, config.batch_max, deadline_ns, account)
        self._account, self._counts = account, account.counts
        self._on_fault = on_fault
        self._batch_max = config.batch_max
        self._window_ns = round(config.batch_window_ms * NS_PER_MS)
        self._spec, self._answer = spec, (spec.horizon, spec.action.size)
        self._period_ns, self._validity_ns = spec.period_ns, spec.validity_ns
        self._due = False
        self._batch: Batch | None = None
        self._policy: Policy | None = None
        self._issued_ns = 0
        self._lane = ""
        self._useless, self._useless_since_ns = 0, 0
        self._useless_version = -1

    def take(self, now_ns: int, observation: Observation) -> Effects:
        """Takes an observation; sets a timer for the batch if none is set."""
        if not self.batcher.add(now_ns, observation) or self._batch is not None:
            return []
        if len(self.batcher.waiting) >= self._batch_max:
            self._due = True
            return [Timer(SERVE, now_ns)]
        if self._due:
            return []
        self._due = True
        return [Timer(SERVE, now_ns + self._window_ns)]

    def serve(self, now_ns: int, policy: Policy | None) -> Effects:
        """Starts the next batch: asks `policy` for the answers. The window is over."""
        self._due = False
        if policy is None:
            self.batcher.clear()
            return []
        batch = self.batcher.take(now_ns)
        if batch is None:
            return []
        self._batch, self._policy, self._issued_ns = batch, policy, now_ns
        rows = len(batch.requests)
        return [Compute(INFER, partial(policy.act, batch.features), self._lane, rows, policy.work)]

    def answered(self, now_ns: int, result: Any) -> Effects:
        """Sends the answers of a batch; `result` is float32[B, H, A] or an exception."""
        batch, policy, self._batch = self._batch, self._policy, None
        assert batch is not None
        assert policy is not None
        effects: Effects = []
        if self.batcher.waiting:
            self._due = True
            effects.append(Timer(SERVE, now_ns))
        requests = batch.requests
        compute_ns, version, size = now_ns - self._issued_ns, policy.version, len(requests)
        self._lane = ASIDE if compute_ns > self._period_ns else ""
        wrong = self._wrong(result, size)
        if wrong:
            self._counts["dropped.engine"] += size
            return effects + self._on_fault(now_ns, policy, wrong)
        if not finite(result):
            requests, result = self._finite(now_ns, policy, requests, result)
        self._counts["answered"] += len(requests)
        self._counts["batches"] += 1
        if requests and compute_ns <= self._validity_ns:
            self._useless = 0
        else:
            effects += self._of_no_use(now_ns, policy)
        for i, request in enumerate(requests):
            observation, arrived_ns = request.observation, request.arrived_ns
            chunk = ActionChunk.answering(
                observation, self._spec, result[i], version, batch=size, arrived_ns=arrived_ns,
                held_ns=now_ns - arrived_ns, compute_ns=compute_ns,
            )  # fmt: skip
            effects.append(Send(observation.device, chunk))
        return effects

    def _of_no_use(self, now_ns: int, policy: Policy) -> Effects:
        """Counts a batch without a useful answer; too many in a row, for too long, are a fault."""
        self._counts["batches_of_no_use"] += 1
        if not self._useless or self._useless_version != policy.version:
            self._useless, self._useless_since_ns = 0, self._issued_ns
            self._useless_version = policy.version
        self._useless += 1
        lasted_ns = now_ns - self._useless_since_ns
        if self._useless < USELESS_BATCHES or lasted_ns < USELESS_NS:
            return []
        said = f"{self._useless} batches in {lasted_ns / NS_PER_S:.1f} s brought no answer of use"
        self._useless = 0
        return self._on_fault(now_ns, policy, said)

    def _wrong(self, result: Any, rows: int) -> str:
        if isinstance(result, Exception):
            return f"{type(result).__name__}: {result}"
        if result.shape != (rows, *self._answer) or result.dtype != _F4:
            return f"answered {result.dtype}{list(result.shape)}"
        return ""

    def _finite(
        self, now_ns: int, policy: Policy, requests: list[Request], result: FloatArray
    ) -> tuple[list[Request], FloatArray]:
        fine = [i for i, actions in enumerate(result) if finite(actions)]
        self._counts["dropped.answer_not_finite"] += len(requests) - len(fine)
        self._account.event(now_ns, "answer_not_finite", f"policy v{policy.version}")
        return [requests[i] for i in fine], result[fine]
