"""Lives through a case on the virtual clock and judges it."""

import time
from collections import Counter
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from tierloop.cloud.scratch import in_memory
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.ledger import Rung
from tierloop.fuzz import coverage, signed_policies
from tierloop.fuzz.case import Case, Mishap
from tierloop.fuzz.oracle import Oracle, WatchedParts
from tierloop.sim.scenario import policy_spec
from tierloop.stack.config.deployment_file import PolicyConfig
from tierloop.stack.faults.kinds import ClockDrift, ClockStep
from tierloop.stack.record.folder import audited
from tierloop.stack.record.record import Record
from tierloop.stack.virtual.faults import schedule
from tierloop.stack.virtual.run import roof
from tierloop.stack.virtual.stack import VirtualStack

SETTLE_NS = 4 * NS_PER_S
"""What is newer than this, at the end, may still be on its way."""
LULL_NS = NS_PER_S
"""At the end, a link that loses a message now and then may leave a device without a word for so
long: what is promised is that it acts again and again, not at every instant."""
DRAIN_NS = 60 * NS_PER_S
"""After this nothing is under way on any link."""
_SLACK_SEGMENTS = 4


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a case. `found`: violated invariants with details; `marks`: states reached."""

    seed: int
    mode: str
    found: dict[str, str]
    marks: dict[str, int]
    simulated_s: float
    cpu_s: float
    trace: str


def live(case: Case) -> TrialResult:
    """Runs a case. What a node raises is a violation too."""
    began_s = time.process_time()
    with closing(in_memory()) as scratch:
        day = _Day(case, scratch.path)
        with closing(day.stack):
            try:
                day.live()
            except Exception as error:
                where = _place(error)
                day.oracle.broken("raised", f"{type(error).__name__}: {error} ({where})")
        if "raised" not in day.oracle.found:
            day.judge()
        return TrialResult(
            seed=case.seed,
            mode=case.mode,
            found=day.oracle.found,
            marks=dict(+day.reached),
            simulated_s=day.simulated_s,
            cpu_s=time.process_time() - began_s,
            trace=day.stack.trace.hexdigest(),
        )


def _place(error: Exception) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return "?"
    return f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"


class _Day:
    """One run of a case."""

    def __init__(self, case: Case, place: Path) -> None:
        self._case, self._place = case, place
        self._newest: tuple[int, str] | None = None
        self.reached: Counter[str] = Counter()
        self.simulated_s = case.deployment.run.duration_s
        scenario = case.deployment.scenario
        self._spec = policy_spec(scenario)
        self._record = Record(self._spec)
        initial = place / "initial.policy"
        signed_policies.write(initial, self._spec, case.first)
        deployment = replace(case.deployment, policy=PolicyConfig(initial=str(initial)))
        self._deployment, parts = deployment, WatchedParts(deployment)
        parts.oracle = self.oracle = Oracle(lambda: self.stack.now_ns)
        self.stack = VirtualStack(
            deployment, case.seed, place / "state", wrappers=parts,
            backend=signed_policies.SignedRounds(self._spec, case.first),
            observers=[self._record.take],
        )  # fmt: skip
        schedule(self.stack)
        for mishap in case.mishaps:
            self.stack.at(round(mishap.at_s * NS_PER_S), partial(self._befall, mishap))
        self.stack.at(case.until_ns - SETTLE_NS, self._look)

    def live(self) -> None:
        stack, case = self.stack, self._case
        stack.run(case.until_ns)
        while (
            case.mode == "liveness" and self._lagging() and stack.now_ns < case.until_ns + LULL_NS
        ):
            stack.run(stack.now_ns + LULL_NS // 20)
        self._count_ticks()
        if case.mode == "liveness":
            self._progress()
        stack.finish()
        self.simulated_s = stack.now_ns / NS_PER_S
        stack.run(stack.now_ns + DRAIN_NS)
        self._record.take(roof(round(self.simulated_s * NS_PER_S), stack.events, {}))

    def _lagging(self) -> bool:
        """Whether a device that lives acts on nobody's word at the moment."""
        nodes = (self.stack.nodes.get(name) for name in self._deployment.scenario.robots)
        return any(node and node.arbiter.rung is not Rung.EDGE for node in nodes)

    def judge(self) -> None:
        """What the record, the disks and the links say afterwards."""
        self.oracle.judge_links(self.stack.ways.values())
        self.oracle.judge_disks(self._place)
        self.oracle.judge_answers(self._place)
        summary = audited(self._record, self._deployment, self._place)
        for name, n in summary["invariants"].items():
            if n:
                self.oracle.found.setdefault(name, f"{n} by the record")
        self.reached = coverage.reached(self._record, self.oracle, self._place)

    def _befall(self, mishap: Mishap) -> None:
        stack, edge = self.stack, self.oracle.edge
        live = edge.releases.live if edge is not None and stack.alive("edge") else None
        if live is None:
            return
        if mishap.kind == "engine_fails":
            live.policy.act = _failing  # type: ignore[method-assign, assignment]
            return
        stack.crash("edge")
        path = self._place / "state" / "edge" / "policies" / f"{live.digest}.policy"
        with suppress(FileNotFoundError):
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        stack.restart("edge")

    def _look(self) -> None:
        """What has been released by now must be live at the end."""
        cloud = self.oracle.cloud
        if cloud is not None and self.stack.alive("cloud") and cloud.publisher.newest:
            self._newest = cloud.publisher.newest.version, cloud.publisher.newest.digest

    def _count_ticks(self) -> None:
        """Whoever else lives or dies, a device ticks at its rate."""
        scenario = self._deployment.scenario
        skewed = {
            name
            for fault in self._deployment.fault
            if isinstance(fault, ClockStep | ClockDrift)
            for name in fault.names(scenario.robots)
        }
        for life in self.oracle.lives:
            due, done = life.node.watch.due, life.port.writes
            if life.name not in skewed and abs(done - due) > 1:
                words = f"{life.name} boot {life.boot}: {done} of {due}"
                self.oracle.broken("ticks", words)

    def _progress(self) -> None:
        """Faults are over for long: every device acts, and every backlog is drained."""
        stack, broken = self.stack, self.oracle.broken
        scenario, device = self._deployment.scenario, self._deployment.device
        fresh = scenario.decision_hz * SETTLE_NS / NS_PER_S / device.segment_decisions
        most = round(fresh) + _SLACK_SEGMENTS
        edge = self.oracle.edge
        if not all(stack.alive(name) for name in stack.processes) or edge is None:
            broken("not_nominal", "a process is down")
            return
        for name in scenario.robots:
            node = stack.nodes[name]
            if node.arbiter.rung is not Rung.EDGE:
                broken("not_nominal", f"{name} is on rung {node.arbiter.rung.name.lower()}")
            if node.uplink.waiting > most:
                broken("not_drained", f"{name} keeps {node.uplink.waiting} segments")
        rows = edge.relay.standing.rows
        if rows > most * len(scenario.robots):
            broken("not_drained", f"the edge keeps {rows} segments")
        live = edge.releases.live
        version = live.policy.version if live is not None else -1
        if self._newest is None:
            broken("not_updated", "nothing is released")
        elif version < self._newest[0] and self._newest[1] not in edge.releases.refused:
            broken("not_updated", f"v{version} is live, v{self._newest[0]} is released")


def _failing(_features: object) -> None:
    raise RuntimeError("the engine fails")
