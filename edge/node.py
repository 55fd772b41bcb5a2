"""The edge's node: checks who may speak, and hands each message to the part that answers."""

from collections.abc import Callable, Collection
from typing import Any

from tierloop.contract.account import Account
from tierloop.contract.bounds import INT_MAX
from tierloop.contract.counters import ENERGY_J, member
from tierloop.contract.effects import Compute, Effects, Send
from tierloop.contract.messages import (
    PROTOCOL,
    Hello,
    Message,
    Observation,
    Offer,
    Part,
    Refused,
    Report,
    Sealed,
    Stored,
    Welcome,
)
from tierloop.contract.specs import PolicySpec
from tierloop.edge import relay, releases, serving
from tierloop.edge.config import EdgeConfig
from tierloop.edge.meter import BusyMeter
from tierloop.edge.outbox import Outbox
from tierloop.edge.relay import Relay
from tierloop.edge.releases import Releases
from tierloop.edge.serving import Serving
from tierloop.policy.shelf import Shelf

NAME, CLOUD = "edge", "cloud"

ROBOTS_TOLD = 600
"""Characters of the robots' names in the answer to a stranger."""


class EdgeNode:
    """One edge between its devices, known by name, and the cloud.

    `shelf` is touched in line once, at the start, and then in the lane "policy" alone; `outbox`
    in the lane "disk" alone. `boot` tells this start of the edge from every other. `robots` are
    the names that may join; None lets any, as a benchmark wants it.
    """

    def __init__(
        self,
        config: EdgeConfig,
        spec: PolicySpec,
        shelf: Shelf,
        outbox: Outbox,
        boot: int,
        robots: Collection[str] | None = (),
    ) -> None:
        self._robots = robots
        self._spec_digest = spec.digest
        self._boot = boot
        self._account = Account()
        self._counts = self._account.counts
        self._meter = BusyMeter(config.idle_w or 0.0, config.busy_w or 0.0, config.dedicated)
        self.releases = Releases(NAME, shelf, self._account)
        self._serving = Serving(config, spec, self._account, self.releases.fault)
        self.relay = Relay(outbox, config.uplink_bytes_per_s, self._account)
        self._boots: dict[str, int] = {}
        self._reported = (0, 0)
        self._done: dict[str, Callable[[int, Any], Effects]] = {
            serving.INFER: self._serving.answered,
            releases.LOAD: self.releases.loaded,
            releases.INSTALL: self.releases.installed,
            releases.UNDO: self.releases.undone,
            relay.LOAD: self.relay.load_done,
            relay.COMMIT: self.relay.commit_done,
            relay.LEND: self.relay.lend_done,
            relay.SETTLE: self.relay.settle_done,
        }

    def on_start(self, now_ns: int) -> Effects:
        self._meter.start(now_ns)
        return self._metered(now_ns, self.releases.start() + self.relay.start())

    def on_message(self, now_ns: int, peer: str, message: Message) -> Effects:
        if isinstance(message, Observation):
            known = self._knows(peer, message)
            return self._serving.take(now_ns, message) if known else []
        if isinstance(message, Sealed):
            known = self._knows(peer, message)
            return self._metered(now_ns, self.relay.take(message)) if known else []
        if isinstance(message, Hello):
            return self._on_hello(now_ns, peer, message)
        if peer == CLOUD:
            return self._metered(now_ns, self._on_cloud(now_ns, message))
        self._counts["refused.unexpected"] += 1
        return []

    def on_lost(self, now_ns: int, peer: str) -> Effects:
        self._account.event(now_ns, "lost", peer)
        if peer == CLOUD:
            self.releases.disconnected()
            self.relay.disconnected()
        elif self._boots.pop(peer, None) is not None:
            self._serving.batcher.close(peer)
        return []

    def on_timer(self, now_ns: int, name: str) -> Effects:
        if name == serving.SERVE:
            effects = self._serving.serve(now_ns, self.releases.policy)
        elif name == releases.STALLED:
            effects = self.releases.stalled(now_ns)
        elif name == releases.RELOAD:
            effects = self.releases.reload(now_ns)
        else:
            effects = self.relay.on_timer(now_ns, name)
        return self._metered(now_ns, effects)

    def on_done(self, now_ns: int, name: str, result: Any) -> Effects:
        self._meter.end(now_ns)
        return self._metered(now_ns, self._done[name](now_ns, result))

    def report(self, now_ns: int) -> Report:
        counts, standing = self._counts, self.relay.standing
        answered, batches = counts["answered"], counts["batches"]
        fresh = answered - self._reported[0], batches - self._reported[1]
        self._reported = answered, batches
        self._account.gauges |= {
            "devices": len(self._boots),
            "waiting": len(self._serving.batcher.waiting),
            "batch_mean": fresh[0] / fresh[1] if fresh[1] else 0.0,
            "outbox_rows": standing.rows,
            "outbox_bytes": standing.bytes,
            "in_flight": self.relay.in_flight,
            "policy_version": self.releases.policy.version if self.releases.policy else -1,
        }
        counters = {member(ENERGY_J, "compute"): self._meter.energy_j(now_ns)}
        counters["busy_s"] = self._meter.busy_s(now_ns)
        labels = {"policy": self.releases.label, "energy": "model"}
        return self._account.report(NAME, self._boot, now_ns, counters, labels)

    def _knows(self, peer: str, message: Observation | Sealed) -> bool:
        """Whether a message comes from the device and the boot that it names; counts it if not."""
        if self._boots.get(peer) == message.boot and message.device == peer:
            return True
        self._counts["refused.stranger"] += 1
        return False

    def _on_hello(self, now_ns: int, claim: str, hello: Hello) -> Effects:
        """Answers a Hello once the outbox is open: only then is it known what is stored."""
        if not self.relay.loaded:
            return []
        name, objection = hello.node, self._objection(hello)
        if objection:
            self._counts["refused.hello"] += 1
            self._account.event(now_ns, "device_refused", f"{name}: {objection}")
            return [Send(claim, Refused(reason=objection, final=True))]
        if self._boots.get(name) != hello.boot:
            self._account.event(now_ns, "joined", f"{name} boot {hello.boot} {hello.software}")
        self._boots[name] = hello.boot
        self._serving.batcher.open(name)
        acked = self.relay.below.get((name, hello.boot), 0)
        return [Send(claim, Welcome(node=NAME, boot=self._boot, acked=acked))]

    def _objection(self, hello: Hello) -> str:
        if hello.role != "device" or hello.node in (NAME, CLOUD):
            return f"{hello.role} {hello.node} is no device; only devices are served here"
        if self._robots is not None and hello.node not in self._robots:
            known = ", ".join(self._robots)[:ROBOTS_TOLD]
            return f"{hello.node} is none of this deployment's robots: {known or 'it has none'}"
        if hello.protocol != PROTOCOL:
            return f"protocol {hello.protocol} of {hello.node} is not the edge's {PROTOCOL}"
        if hello.boot > INT_MAX:
            return f"boot {hello.boot} of {hello.node} is past 63 bits"
        if hello.spec != self._spec_digest:
            return (
                f"policy spec {hello.spec} of {hello.node} is not the edge's {self._spec_digest}; "
                "start both from the same deployment file"
            )
        return ""

    def _on_cloud(self, now_ns: int, message: Message) -> Effects:
        match message:
            case Stored():
                return self.relay.receipt(now_ns, message)
            case Part():
                return self.releases.part(now_ns, message)
            case Offer():
                return self.releases.offer(now_ns, message)
            case Welcome():
                self._account.event(now_ns, "joined", f"{CLOUD} boot {message.boot}")
                return self.releases.connected(now_ns) + self.relay.connected(now_ns)
            case Refused():
                self._account.event(now_ns, "refused", f"{CLOUD}: {message.reason}")
                return []
        self._counts["refused.unexpected"] += 1
        return []

    def _metered(self, now_ns: int, effects: Effects) -> Effects:
        for effect in effects:
            if type(effect) is Compute:
                self._meter.begin(now_ns)
        return effects
