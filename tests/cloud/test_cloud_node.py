"""The cloud's node: sessions, commits, rounds; every step by hand, every failure survived."""

import numpy as np
import pytest
from toy import ToyBackend, toy_trainer

from tierloop.cloud.config import CloudConfig
from tierloop.cloud.node import BATCH_MAX, PENDING_BYTES, PENDING_MAX, CloudNode
from tierloop.contract.clock import NS_PER_S
from tierloop.contract.effects import Compute, Send, Timer
from tierloop.contract.messages import (
    Echo,
    Fetch,
    Hello,
    Offer,
    Outcome,
    Part,
    PolicyStatus,
    Refused,
    SegmentId,
    Stored,
    Welcome,
)
from tierloop.policy.artefact import unpack


class Shell:
    """Runs a node by hand: jobs wait in lanes until told, timers until their time."""

    def __init__(self, node):
        self.node, self.now_ns = node, 10 * NS_PER_S
        self.sent, self.jobs, self.timers = [], [], {}
        self._apply(node.on_start(self.now_ns))

    def receive(self, message, peer="edge"):
        self._apply(self.node.on_message(self.now_ns, peer, message))

    def fire(self, name):
        self.now_ns = max(self.now_ns, self.timers.pop(name))
        self._apply(self.node.on_timer(self.now_ns, name))

    def do(self, name):
        """Runs the next waiting job, which must be of that name."""
        compute = next(c for c in self.jobs if c.name == name)
        self.jobs.remove(compute)
        try:
            result = compute.job()
        except Exception as error:
            result = error
        self.now_ns += NS_PER_S
        self._apply(self.node.on_done(self.now_ns, name, result))

    def take(self, kind):
        found = [(s.to, s.message) for s in self.sent if isinstance(s.message, kind)]
        self.sent = [s for s in self.sent if not isinstance(s.message, kind)]
        return found

    def names(self):
        return [job.name for job in self.jobs]

    def _apply(self, effects):
        for effect in effects:
            match effect:
                case Send():
                    self.sent.append(effect)
                case Timer():
                    self.timers[effect.name] = effect.at_ns
                case Compute():
                    self.jobs.append(effect)


@pytest.fixture
def shell(store, spec):
    return begin(store, spec)


def begin(store, spec, newest=None, backend=None, **changes):
    backend = backend or ToyBackend(spec)
    trainer = toy_trainer(spec, backend, **changes)
    if newest is not None:
        trainer.resume(newest, store.policies.next_version())
    config = CloudConfig(idle_w=60.0, busy_w=150.0, dedicated=True)
    return Shell(CloudNode(config, spec, store, trainer, backend, 3, newest, ("arm-0", "arm-1")))


def hello(policy_spec, **changes):
    about = {"node": "edge", "role": "edge", "boot": 1, "software": "1", "spec": policy_spec.digest}
    return Hello(**(about | changes))


def ready(shell):
    for name in ("conclude", "record", "raise"):
        shell.do(name)


def live(shell, make_segment, seal, seqs):
    for seq in seqs:
        shell.receive(seal(make_segment(seq, rows=10)))
    shell.fire("commit")
    shell.do("commit")


def play_round(shell):
    shell.fire("look")
    for name in ("look", "play", "keep", "fit", "judge", "conclude", "record"):
        shell.do(name)


def events(shell):
    return {(e.name, e.detail) for e in shell.node.report(shell.now_ns).events}


def test_an_edge_is_welcomed_and_told_the_newest_release(shell, spec):
    shell.receive(hello(spec))
    assert [type(s.message) for s in shell.sent] == [Welcome]
    ready(shell)
    ((_, offer),) = shell.take(Offer)
    assert offer.version == 0
    shell.receive(hello(spec))
    assert [type(s.message) for s in shell.sent] == [Welcome, Welcome, Offer]


def test_an_edge_that_says_hello_again_and_again_has_joined_once(shell, spec):
    for boot in (1, 1, 1, 2):
        shell.receive(hello(spec, boot=boot))
    shell._apply(shell.node.on_lost(shell.now_ns, "edge"))
    shell.receive(hello(spec, boot=2))
    told = [e.name for e in shell.node.report(shell.now_ns).events]
    assert told == ["edge_joined", "edge_joined", "edge_lost", "edge_joined"]


@pytest.mark.parametrize(
    ("changes", "word"), [({"spec": "0" * 16}, "trains for"), ({"protocol": 99}, "speaks")]
)
def test_an_edge_that_does_not_fit_is_refused_for_good_and_offered_nothing(
    shell, spec, changes, word
):
    ready(shell)
    shell.receive(hello(spec, **changes))
    ((_, refused),) = shell.take(Refused)
    assert refused.final
    assert word in refused.reason
    assert shell.sent == []


def test_what_came_together_is_one_commit_and_acknowledged_after_it(
    shell, store, make_segment, seal
):
    for seq in range(5):
        shell.receive(seal(make_segment(seq)))
    shell.fire("commit")
    for seq in range(5, 8):
        shell.receive(seal(make_segment(seq)), "edge-2")
    assert shell.take(Stored) == []
    shell._apply(shell.node.on_timer(shell.now_ns, "commit"))
    assert shell.names().count("commit") == 1
    shell.do("commit")
    assert [(to, ack.below) for to, ack in shell.take(Stored)] == [("edge", 5)]
    shell.do("commit")
    assert [(to, ack.below) for to, ack in shell.take(Stored)] == [("edge-2", 8)]
    assert shell.node.report(0).counters["ingested"] == 8


def test_a_commit_that_fails_acknowledges_nothing_and_the_next_one_works(
    shell, store, make_segment, seal
):
    store._db.execute("PRAGMA query_only=ON")
    live(shell, make_segment, seal, range(3))
    assert shell.take(Stored) == []
    report = shell.node.report(shell.now_ns)
    assert report.counters["dropped.disk"] == 3
    assert any(e.name == "commit_failed" for e in report.events)
    store._db.execute("PRAGMA query_only=OFF")
    live(shell, make_segment, seal, range(3))
    assert [ack.below for _, ack in shell.take(Stored)] == [3]


def test_a_flood_is_bounded_and_counted(shell, make_segment, seal):
    sealed = seal(make_segment())
    for _ in range(PENDING_MAX + 5):
        shell.receive(sealed)
    assert shell.node.report(0).counters["dropped.busy"] == 5


def test_a_flood_is_bounded_in_bytes_and_committed_bit_by_bit(shell, make_segment, seal):
    padded = seal(make_segment(), body=np.zeros(250_000, np.uint8))
    for _ in range(PENDING_MAX):
        shell.receive(padded)
    held = [sealed for _, sealed in shell.node._pending]
    assert sum(len(sealed.body) for sealed in held) <= PENDING_BYTES
    assert shell.node.report(0).counters["dropped.busy"] == PENDING_MAX - len(held)
    shell.fire("commit")
    for rest in range(len(held), 0, -BATCH_MAX):
        assert len(shell.node._committing) == min(rest, BATCH_MAX)
        shell.do("commit")
    assert shell.names().count("commit") == 0
    assert shell.node._pending_bytes == 0


def test_a_stranger_is_refused_by_that_word_and_acknowledged(shell, make_segment, seal):
    shell.receive(seal(make_segment(device="evil"), digest=3))
    shell.fire("commit")
    shell.do("commit")
    assert [(ack.device, ack.below) for _, ack in shell.take(Stored)] == [("evil", 1)]
    assert shell.node.report(0).counters["refused.stranger"] == 1


def test_refused_data_are_acknowledged_and_told(shell, make_segment, seal):
    shell.receive(seal(make_segment(spec="f" * 16)))
    shell.fire("commit")
    shell.do("commit")
    assert [ack.below for _, ack in shell.take(Stored)] == [1]
    assert ("segment_refused", "arm-0 boot 7 segment 0: spec") in events(shell)


def test_rounds_wait_for_enough_lived_data_then_release_what_is_better(
    shell, store, spec, make_segment, seal
):
    shell.receive(hello(spec))
    ready(shell)
    live(shell, make_segment, seal, range(2))
    shell.fire("look")
    shell.do("look")
    assert shell.names() == []
    assert shell.node.rounds.phase == "collecting"
    live(shell, make_segment, seal, range(2, 4))
    phases = []
    shell.fire("look")
    for name in ("look", "play", "keep", "fit", "judge", "conclude", "record"):
        shell.do(name)
        phases.append(shell.node.rounds.phase)
    assert phases[:5] == ["playing", "playing", "fitting", "judging", "exporting"]
    assert [offer.version for _, offer in shell.take(Offer)] == [0, 1]
    report = shell.node.report(shell.now_ns)
    assert report.gauges["twin.candidate"] > report.gauges["twin.incumbent"]
    assert report.counters["rounds"] == 1
    assert report.counters["samples.lived"] == 40
    assert report.counters["samples.twin"] > 0
    record = store.policies.newest()
    assert (record.version, record.parents) == (1, (0,))
    assert store.policies.policies_of(SegmentId("arm-0", 7, 3)) == (1,)
    manifest = unpack(record.blob).manifest
    assert manifest.samples["lived"] == 40
    assert {d.device for d in manifest.trained_on} == {"arm-0", "twin"}
    assert any(
        "released v1" in detail for name, detail in [(e.name, e.detail) for e in report.events]
    )


def test_a_next_round_needs_something_newly_lived(shell, spec, make_segment, seal):
    ready(shell)
    live(shell, make_segment, seal, range(4))
    play_round(shell)
    shell.fire("look")
    shell.do("look")
    assert shell.names() == []
    live(shell, make_segment, seal, range(4, 5))
    shell.fire("look")
    shell.do("look")
    assert shell.names() == ["play"]


def test_learning_rests_after_the_last_round(store, spec, make_segment, seal):
    shell = begin(store, spec, rounds_max=1)
    ready(shell)
    live(shell, make_segment, seal, range(4))
    play_round(shell)
    assert shell.node.rounds.phase == "resting"
    live(shell, make_segment, seal, range(4, 8))
    shell.fire("look")
    shell.do("look")
    assert shell.names() == []
    assert shell.timers["look"] > shell.now_ns, "what the bodies make of the last release is seen"


def lived(make_segment, seq, version, successes, episodes):
    outcomes = tuple(
        Outcome(
            number=seq * 100 + n, success=n < successes, reason="", policy_version=version,
            started_ns=seq * 100 + n, ended_ns=seq * 100 + n + 1,
        )
        for n in range(episodes)
    )  # fmt: skip
    return make_segment(seq, rows=10, outcomes=outcomes)


def active(record):
    return PolicyStatus(
        node="edge", version=record.version, digest=record.digest, state="active", reason=""
    )


def released_and_lived(shell, store, spec, make_segment, seal, successes):
    """Version 0 lives at 14 of 14, version 1 at `successes` of 8; the record of each."""
    shell.receive(hello(spec))
    ready(shell)
    before = store.policies.newest()
    shell.receive(seal(lived(make_segment, 50, 0, 14, 14)))
    live(shell, make_segment, seal, range(4))
    play_round(shell)
    after = store.policies.newest()
    shell.receive(active(after))
    shell.receive(seal(lived(make_segment, 51, 1, successes, 8)))
    shell.fire("commit")
    shell.do("commit")
    shell.take(Offer)
    shell.fire("look")
    shell.do("look")
    return before, after


def test_a_release_that_lives_worse_than_the_one_before_is_withdrawn_and_stays_so(
    store, spec, make_segment, seal
):
    shell = begin(store, spec, rounds_max=1)
    before, after = released_and_lived(shell, store, spec, make_segment, seal, successes=2)
    shell.do("withdraw")
    ((to, offer),) = shell.take(Offer)
    assert (to, offer.version, offer.digest, offer.rollback) == ("edge", 0, before.digest, True)
    assert any(
        name == "release_withdrawn"
        and detail.startswith("v1 withdrawn for v0: 2 of 8 episodes succeeded, against ")
        for name, detail in events(shell)
    )
    shell.do("revert")
    shell.receive(active(before))
    shell.fire("remind")
    shell.fire("look")
    shell.do("look")
    assert shell.names() == []
    assert shell.take(Offer) == []
    assert store.policies.withdrawn() == [(1, after.digest)]
    assert store.policies.next_version() == 2

    again = begin(store, spec, store.policies.newest(), rounds_max=1)
    again.do("withdrawn")
    again.receive(hello(spec))
    again.receive(active(after))
    again.take(Offer)
    again.fire("remind")
    assert [(o.version, o.rollback) for _, o in again.take(Offer)] == [(0, True)]


def test_a_release_that_may_be_as_good_stays(store, spec, make_segment, seal):
    shell = begin(store, spec, rounds_max=1)
    released_and_lived(shell, store, spec, make_segment, seal, successes=6)
    assert shell.names() == []
    assert shell.take(Offer) == []
    assert store.policies.withdrawn() == []


def test_after_a_withdrawal_the_next_candidate_is_judged_against_what_is_in_force(
    store, spec, make_segment, seal
):
    shell = begin(store, spec)
    released_and_lived(shell, store, spec, make_segment, seal, successes=0)
    for name in ("withdraw", "revert"):
        shell.do(name)
    live(shell, make_segment, seal, [60])
    play_round(shell)
    newest = store.policies.newest()
    assert newest.version == 2
    assert newest.metrics["incumbent"] <= 0.2, "that is version 0 in the toy world"
    assert [o.rollback for _, o in shell.take(Offer)] == [True, False]


def test_a_refused_candidate_is_on_record_and_not_offered(store, spec, make_segment, seal):
    shell = begin(store, spec, gate_episodes=40, gate_p=2e-12)
    shell.receive(hello(spec))
    ready(shell)
    shell.take(Offer)
    live(shell, make_segment, seal, range(4))
    play_round(shell)
    assert shell.take(Offer) == []
    assert store.policies.newest().version == 0
    assert store.policies.next_version() == 2
    assert any(name == "candidate_refused" for name, _ in events(shell))


@pytest.mark.parametrize("step", ["play", "keep", "fit", "judge"])
def test_a_step_that_fails_is_told_and_the_round_begun_again(store, spec, make_segment, seal, step):
    backend = ToyBackend(spec)
    shell = begin(store, spec, backend=backend)
    ready(shell)
    live(shell, make_segment, seal, range(4))
    shell.fire("look")
    for name in ("look", "play", "keep", "fit", "judge"):
        if name == step:
            backend.broken = True
            store._db.execute("PRAGMA query_only=ON")
        shell.do(name)
        if name == step:
            break
    assert any(name == "step_failed" and step in detail for name, detail in events(shell))
    busy_s = shell.node.report(shell.now_ns).counters["busy_s"]
    assert shell.node.report(shell.now_ns + NS_PER_S).counters["busy_s"] == busy_s
    assert shell.node.rounds.phase == "collecting"
    backend.broken = False
    store._db.execute("PRAGMA query_only=OFF")
    live(shell, make_segment, seal, [4])
    play_round(shell)
    assert store.policies.newest().version == 1


def test_a_release_that_cannot_be_recorded_is_not_offered_until_it_is(shell, store, spec):
    shell.receive(hello(spec))
    shell.do("raise")
    shell.do("conclude")
    store._db.execute("PRAGMA query_only=ON")
    shell.do("record")
    assert shell.take(Offer) == []
    store._db.execute("PRAGMA query_only=OFF")
    shell.fire("record")
    shell.do("record")
    assert [offer.version for _, offer in shell.take(Offer)] == [0]
    assert "look" in shell.timers


def test_a_backend_that_does_not_start_is_tried_again(store, spec):
    backend = ToyBackend(spec)
    backend.broken = True
    shell = begin(store, spec, backend=backend)
    assert shell.node.report(shell.now_ns).gauges["workers.up"] == 0
    for name in ("conclude", "record", "raise"):
        shell.do(name)
    assert "look" not in shell.timers
    assert shell.node.report(shell.now_ns).gauges["workers.up"] == 0
    backend.broken = False
    shell.fire("raise")
    shell.do("raise")
    assert "look" in shell.timers
    assert shell.node.report(shell.now_ns).gauges["workers.up"] == 1


def test_experience_is_served_while_a_round_runs(shell, spec, make_segment, seal):
    ready(shell)
    live(shell, make_segment, seal, range(4))
    shell.fire("look")
    shell.do("look")
    assert [(job.name, job.lane) for job in shell.jobs] == [("play", "learn")]
    live(shell, make_segment, seal, range(4, 6))
    assert shell.take(Stored)[-1][1].below == 6


def test_a_restart_goes_on_from_the_newest_release(store, spec, make_segment, seal):
    shell = begin(store, spec)
    ready(shell)
    live(shell, make_segment, seal, range(4))
    play_round(shell)
    newest = store.policies.newest()
    again = begin(store, spec, newest)
    again.receive(hello(spec))
    ((_, offer),) = again.take(Offer)
    assert (offer.version, offer.digest) == (1, newest.digest)
    again.receive(Fetch(digest=offer.digest, offset=0, length=1 << 16))
    ((_, part),) = again.take(Part)
    assert part.data.tobytes() == newest.blob[: len(part.data)]
    again.do("raise")
    again.fire("look")
    for name in ("look", "play", "keep", "fit", "judge", "conclude", "record"):
        again.do(name)
    report = again.node.report(again.now_ns)
    assert report.counters["samples.lived"] == 40
    assert store.policies.next_version() == 3


def test_the_report_says_who_runs_what_and_what_it_cost(shell, spec, make_segment, seal):
    ready(shell)
    status = PolicyStatus(node="edge", version=0, digest="d", state="active")
    shell.receive(status)
    report = shell.node.report(shell.now_ns)
    assert report.labels == {"phase": "collecting", "running": "edge: v0"}
    up_s = (shell.now_ns - 10 * NS_PER_S) / NS_PER_S
    assert report.counters["energy_j.compute"] == pytest.approx(60.0 * up_s)
    assert ("policy_status", "v0 is active on edge") in {(e.name, e.detail) for e in report.events}
    live(shell, make_segment, seal, range(4))
    play_round(shell)
    report = shell.node.report(shell.now_ns)
    up_s = (shell.now_ns - 10 * NS_PER_S) / NS_PER_S
    busy_s = report.counters["busy_s"]
    assert busy_s == report.gauges["round_s"] > 0
    assert report.counters["energy_j.compute"] == pytest.approx(60 * up_s + 90 * busy_s)
    assert report.events[-1:] == () or report.events


def test_a_lost_edge_is_not_offered_anything(shell, spec):
    shell.receive(hello(spec))
    shell._apply(shell.node.on_lost(shell.now_ns, "edge"))
    ready(shell)
    assert shell.take(Offer) == []


def test_other_messages_are_counted(shell):
    shell.receive(Echo(seq=1, sent_ns=1, received_ns=1, echoed_ns=1))
    assert shell.node.report(0).counters["refused.message"] == 1


def test_a_first_policy_that_could_not_be_made_is_made_later(store, spec):
    shell = begin(store, spec)
    shell.jobs.clear()
    shell._apply(shell.node.on_done(shell.now_ns, "raise", None))
    shell._apply(shell.node.on_done(shell.now_ns, "conclude", MemoryError()))
    shell.fire("conclude")
    for name in ("conclude", "record"):
        shell.do(name)
    assert shell.node.publisher.newest is not None


@pytest.mark.parametrize(("role", "node"), [("device", "arm-0"), ("edge", "edge-2")])
def test_only_the_edge_is_welcome(shell, spec, role, node):
    shell.receive(hello(spec, role=role, node=node), peer=node)
    (refused,) = [m for _, m in shell.take(Refused)]
    assert refused.final
    assert "no edge" in refused.reason
