"""The device's node: what one robot does in a control tick and with each message."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tierloop.contract.account import Account
from tierloop.contract.body import Embodiment, Episode, Reading
from tierloop.contract.bounds import MIXED
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.counters import (
    CAUSE_J,
    ENERGY_J,
    INVARIANT,
    LIMIT,
    REFUSED,
    RUNG_S,
    member,
)
from tierloop.contract.effects import Effects, Send
from tierloop.contract.ledger import Refusal, Rung
from tierloop.contract.messages import (
    ActionChunk,
    Event,
    Message,
    Observation,
    Refused,
    Report,
    Stored,
    Welcome,
)
from tierloop.contract.specs import Vector
from tierloop.device.arbiter import Arbiter
from tierloop.device.config import DeviceConfig
from tierloop.device.foresight import Foresight
from tierloop.device.guard import Guard, Limit
from tierloop.device.ledger import Rows
from tierloop.device.meter import Meter
from tierloop.device.outcomes import Outcomes
from tierloop.device.uplink import Uplink
from tierloop.device.watch import Watch
from tierloop.link.clock_offset import Offset

LEAP_NS = NS_PER_S // 2
"""If more time than this lies between two ticks, the clock has leapt. The excess is counted, and is
charged neither to the battery nor to a rung."""
_TELLING = (Refusal.NONE, Refusal.EXPIRED, Refusal.STOPPED, Refusal.PREMISE)
"""Answers of this body and boot, each once: their delay counts."""


class DeviceNode:
    """One robot, ticked at the control rate; every `policy.period_ns` it asks the edge."""

    def __init__(
        self,
        name: str,
        boot: int,
        embodiment: Embodiment,
        config: DeviceConfig,
        software: str,
        processor_s: float = 0.0,
    ) -> None:
        body, self._perceiver, self.spec = embodiment
        self.name, self.boot = name, boot
        start = body.hold()
        hold_ns = round(config.hold_s * NS_PER_S)
        self.arbiter = Arbiter(name, boot, self.spec, body.spec, hold_ns, config.acting)
        self.foresight = Foresight(body.tool_position, self.spec.validity_ns)
        self._predict = config.acting.predict
        self.guard = Guard(body.spec, body.tool_position, start)
        self.meter = Meter(body.spec, config, processor_s)
        self.rows = Rows()
        self.uplink = Uplink(
            name, boot, body.spec.name, software, self.spec,
            config.segment_decisions, config.backlog_segments,
        )  # fmt: skip
        anchored = config.acting.anchor == "capture"
        self.watch = Watch(
            body.spec, body.tool_position, self.spec, anchored, start, self._event
        )  # fmt: skip
        self._backlog_max = config.backlog_segments
        self._applied = start
        self._ages_ns: list[int] = []
        self._last_ns = 0
        self._decision_ns = 0
        self._seq = 0
        self._fresh = False
        self._cut_out, self._cut_out_v = False, 0.0
        self._outcomes = Outcomes()
        self._account = Account()
        self._hits: Counter[Limit] = Counter()
        self._refused: dict[Refusal, int] = dict.fromkeys(Refusal, 0)
        self._rung_ns = [0] * len(Rung)
        self._applied_seq = self._edge_boot = -1
        self._leapt_ns = 0
        self.offset: Offset | None = None
        """How far the edge's clock is from this one, as the link has last found it."""

    def on_start(self, now_ns: int) -> Effects:
        self._last_ns = self._decision_ns = now_ns
        return []

    def on_tick(self, now_ns: int, reading: Reading) -> tuple[Vector, Effects]:
        """Does one control tick. Returns the setpoint to write, float64[A], and effects."""
        passed_ns = now_ns - self._last_ns
        elapsed_ns = min(passed_ns, LEAP_NS)
        self._leapt_ns += passed_ns - elapsed_ns
        self._last_ns = now_ns
        self._perceiver.update(reading)
        effort = reading.effort
        if elapsed_ns < passed_ns:
            effort = effort.times(elapsed_ns / passed_ns)
        self.meter.tick(elapsed_ns / NS_PER_S, effort, reading.switch)
        if self.meter.battery.cut_out and not self._cut_out:
            self._cut(now_ns)
        wish = self.arbiter.choose(now_ns)
        rung = self.arbiter.rung
        setpoint, hit = self.guard.limit(wish, reading.position_rad, reading.torque_nm)
        if hit:
            self._hits[hit] += 1
        self._applied = setpoint
        origin = self.arbiter.origin
        if origin is not None:
            self._ages_ns += now_ns - origin.captured_ns, now_ns - origin.oldest_ns
        self._rung_ns[rung] += elapsed_ns
        for episode in reading.outcomes:
            self._judged(episode)
        if now_ns < self._decision_ns:
            return setpoint, []
        late = (now_ns - self._decision_ns) // self.spec.period_ns
        self._decision_ns += (late + 1) * self.spec.period_ns
        return setpoint, self._decide(now_ns, reading)

    def _decide(self, now_ns: int, reading: Reading) -> Effects:
        chunk, seq = self.arbiter.chunk, self._seq
        features = self._perceiver.features(reading)
        place = self.uplink.add(
            reading.captured_ns, features, self._applied,
            now_ns - chunk.captured_ns if chunk else -1,
            chunk.policy_version if chunk else MIXED, self.arbiter.seam_rad,
        )  # fmt: skip
        ahead_ns = self.foresight.ahead_ns if self._predict else 0
        if ahead_ns:
            later = self.foresight.expect(seq, reading, ahead_ns, self.arbiter.plan, self._applied)
            features = self._perceiver.features(later)
        self.rows.open(seq, reading.captured_ns, ahead_ns, place, self.arbiter.rung, self.meter)
        if self.arbiter.origin is not None:
            self.rows.acting(seq, now_ns, self.arbiter.origin)
        self._seq = seq + 1
        question = Observation(
            device=self.name, boot=self.boot, seq=seq,
            captured_ns=reading.captured_ns, features=features, ahead_ns=ahead_ns,
        )  # fmt: skip
        self.watch.asked(question)
        effects: Effects = [Send("edge", question)]
        effects += [Send("edge", sealed) for sealed in self.uplink.due(now_ns)]
        return effects

    def on_sent(self, now_ns: int, message: Message, size: int) -> None:
        """Notes that the link took a message of `size` bytes."""
        self.meter.sent(size)
        if type(message) is Observation:
            self.rows.sent(message.seq, now_ns, size)

    def on_written(self, now_ns: int) -> None:
        """Notes that the body has taken the last tick's setpoint."""
        chunk = self.arbiter.chunk
        self.watch.wrote(self._last_ns, self._applied, chunk)
        if chunk is not None and chunk.seq != self._applied_seq:
            self._applied_seq = chunk.seq
            self.rows.applied(chunk.seq, now_ns)

    def on_message(self, now_ns: int, _peer: str, message: Message) -> Effects:
        match message:
            case ActionChunk():
                self._chunk(now_ns, message)
            case Stored():
                self.uplink.stored(message)
            case Welcome():
                self.uplink.resume(message)
                if message.boot != self._edge_boot:
                    self._edge_boot = message.boot
                    self.arbiter.begin(self._seq)
                self._event(now_ns, "session", f"{message.node} is there")
            case Refused():
                self._event(now_ns, "refused", message.reason)
            case _:
                pass
        return []

    def _chunk(self, now_ns: int, chunk: ActionChunk) -> None:
        self.meter.received(chunk.actions.nbytes)
        before = self.arbiter.chunk
        refusal = self._objection(chunk)
        if refusal is Refusal.NONE:
            premise = self.foresight.premise(chunk.seq)
            refusal = self.arbiter.offer(now_ns, chunk, self._applied, premise)
        first = self.rows.answered(now_ns, chunk, refusal, self.offset)
        if first and refusal in _TELLING:
            self.foresight.answered(now_ns - chunk.captured_ns)
        if refusal is not Refusal.NONE:
            self._refused[refusal] += 1
            self.uplink.refused(refusal.name.lower())
        elif before is None or before.policy_version != chunk.policy_version:
            self._outcomes.switched(now_ns, chunk.policy_version)
            self._event(now_ns, "policy", f"v{chunk.policy_version} acts")

    def _objection(self, chunk: ActionChunk) -> Refusal:
        """Why a chunk of this device and boot answers no open question, or Refusal.NONE."""
        if chunk.device != self.name or chunk.boot != self.boot:
            return Refusal.NONE  # the arbiter has words for it
        if chunk.seq >= self._seq:
            return Refusal.WRONG_BOOT  # this boot has not asked that yet
        return self.rows.objection(chunk)

    def on_lost(self, now_ns: int, peer: str) -> Effects:
        self._event(now_ns, "lost", f"{peer} is silent")
        return []

    def _cut(self, now_ns: int) -> None:
        """Begins the final controlled stop: the battery has cut out."""
        battery = self.meter.battery
        self._cut_out, self._cut_out_v = True, battery.voltage_v
        self.arbiter.halt()
        detail = f"cut out at {battery.voltage_v:.2f} V, {max(battery.soc, 0.0):.1%} of the charge"
        self._event(now_ns, "battery", f"{detail} left: controlled stop")

    def _judged(self, episode: Episode) -> None:
        self.uplink.judged(self._outcomes.judged(episode))
        self.arbiter.part(episode.ended_ns)
        self.rows.episode = episode.number + 1

    def note(self, event: Event) -> None:
        """Puts an event into the next report."""
        self._account.event(event.at_ns, event.name, event.detail)

    def _event(self, now_ns: int, name: str, detail: str) -> None:
        self._account.event(now_ns, name, detail)

    def flush(self, now_ns: int) -> Effects:
        """Seals the unfinished segment before the end. Returns the messages to send."""
        self.uplink.seal()
        return [Send("edge", sealed) for sealed in self.uplink.due(now_ns)]

    def report(self, now_ns: int, lateness_ns: Sequence[int] = (), last: bool = False) -> Report:
        chunk, uplink = self.arbiter.chunk, self.uplink
        counters: dict[str, float] = {
            "decisions": self._seq,
            "segments.produced": uplink.produced,
            "segments.acked": uplink.acked,
            "segments.shed": uplink.shed,
            "segments.unsent_acks": uplink.unsent_acks,
            member(INVARIANT, "backlog_bounded"): max(0, uplink.waiting - self._backlog_max),
            "ticks.due": self.watch.due,
            "clock_leap_s": self._leapt_ns / NS_PER_S,
            "ticks.unmeasured": self.meter.unmeasured,
            "events_dropped": self._account.dropped,
        }
        counters |= {member(INVARIANT, name): n for name, n in self.watch.found.items()}
        battery = self.meter.battery
        counters |= {member(ENERGY_J, part): j for part, j in self.meter.joules.items()}
        counters |= {member(CAUSE_J, cause): j for cause, j in self.meter.causes.items()}
        counters |= {"battery.given_j": battery.given_j, "battery.unserved_j": battery.unserved_j}
        counters |= {
            member(RUNG_S, r.name.lower()): self._rung_ns[r] / NS_PER_S for r in Rung
        }  # fmt: skip
        counters |= {member(REFUSED, r.name.lower()): n for r, n in self._refused.items() if r}
        counters |= {
            member(LIMIT, b.name.lower()): sum(n for hit, n in self._hits.items() if b in hit)
            for b in Limit if b.name
        }  # fmt: skip
        ages_ns, self._ages_ns = self._ages_ns, []
        return Report(
            process=self.name, role="device", boot=self.boot, at_ns=now_ns, counters=counters,
            gauges={
                "backlog": uplink.waiting,
                "policy_version": chunk.policy_version if chunk else MIXED,
                "rung": self.arbiter.rung,
                "battery.voltage_v": battery.voltage_v,
                "battery.lowest_v": battery.lowest_v,
                "battery.soc": battery.soc,
                "battery.cut_out": float(battery.cut_out),
                "battery.cut_out_v": self._cut_out_v,
            },
            labels={
                "rung": self.arbiter.rung.name.lower(),
                "battery": "battery out" if battery.cut_out else f"battery {battery.soc:.0%}",
            },
            decisions=self.rows.take(now_ns, last),
            lateness_ns=np.array(lateness_ns, np.int64),
            ages_ns=np.array(ages_ns, np.int64).reshape(-1, 2),
            outcomes=self._outcomes.take(), events=self._account.take_events(),
        )  # fmt: skip

    @property
    def untold(self) -> bool:
        """Whether rows or outcomes did not fit into the last report."""
        return bool(self.rows.waiting or self._outcomes.waiting)
