import msgspec
import numpy as np
import pytest
from edge_bench import MS, SPEC, WELCOME, Bench, S, blob, observation, offer, stocked

from tierloop.contract.messages import ActionChunk, Fetch, Part, PolicyStatus, Refused
from tierloop.edge.download import PART_BYTES
from tierloop.edge.releases import REFUSED_MAX, RELOAD_NS, STALL_NS
from tierloop.policy.artefact import digest


@pytest.fixture
def bench(tmp_path) -> Bench:
    bench = Bench(tmp_path, 1).start()
    bench.join("arm")
    bench.hear("cloud", WELCOME)
    return bench


def serve_parts(bench: Bench, data: bytes, fetches: list) -> list:
    """A cloud that answers what is asked for; what the edge says in the end."""
    said = []
    while fetches:
        fetch = fetches.pop(0)
        chunk = np.frombuffer(data[fetch.offset : fetch.offset + fetch.length], np.uint8)
        answers = bench.hear("cloud", Part(digest=fetch.digest, offset=fetch.offset, data=chunk))
        fetches += [a for a in answers if isinstance(a, Fetch)]
        said += [a for a in answers if not isinstance(a, Fetch)]
    return said


def deliver(bench: Bench, version: int, **changes) -> list:
    return serve_parts(bench, blob(version), bench.hear("cloud", offer(version, **changes)))


def version_of(bench: Bench, seq: int) -> int:
    (chunk,) = bench.hear("arm", observation(seq))
    return chunk.policy_version


def test_the_policy_on_the_shelf_serves_at_once_without_a_cloud(tmp_path):
    stocked(tmp_path / "policies", 1, 2)
    bench = Bench(tmp_path).start()
    bench.join("arm")
    assert version_of(bench, 0) == 2


def test_a_released_policy_goes_live_and_is_told_upward(bench):
    assert bench.to("cloud", PolicyStatus)[0].version == 1
    (status,) = deliver(bench, 2)
    assert (status.version, status.state) == (2, "active")
    assert status.digest == offer(2).digest
    assert version_of(bench, 0) == 2
    assert bench.counters()["policy_switches"] == 1
    assert stocked_version(bench) == 2


def stocked_version(bench: Bench) -> int:
    """What a restart would serve."""
    policy = type(bench.shelf)(bench.shelf._directory, bench.shelf._spec).active()
    return -1 if policy is None else policy.version


def test_the_first_policy_of_an_empty_edge(tmp_path):
    bench = Bench(tmp_path).start()
    bench.join("arm")
    assert bench.hear("cloud", WELCOME) == []
    (status,) = deliver(bench, 0)
    assert (status.version, status.state) == (0, "active")
    assert version_of(bench, 0) == 0


def test_answers_go_on_while_a_policy_is_prepared_and_no_batch_mixes_versions(bench):
    bench.hold("policy")
    fetches = bench.hear("cloud", offer(2))
    serve_parts(bench, blob(2), fetches)
    assert version_of(bench, 0) == 1
    bench.hold("")
    bench.hear("arm", observation(1))
    bench.release("policy")
    bench.release("")
    bench.fire()
    assert bench.to("arm", ActionChunk)[-1].policy_version == 1, "begun under version 1"
    assert version_of(bench, 2) == 2


def test_a_large_policy_comes_in_a_window_of_parts(bench, tmp_path):
    data = blob(3, hidden=300)
    assert len(data) > PART_BYTES
    fetches = bench.hear("cloud", offer(3, digest=digest(data), size=len(data)))
    (status,) = serve_parts(bench, data, fetches)
    assert (status.version, status.state) == (3, "active")


def test_the_same_or_an_older_policy_is_not_fetched_again(bench):
    deliver(bench, 3)
    for version in (3, 2, 1):
        (answer,) = bench.hear("cloud", offer(version))
        assert (answer.version, answer.state) == (3, "active")


def test_an_ordered_rollback_goes_back_on_record(bench):
    deliver(bench, 2)
    said = deliver(bench, 1, rollback=True)
    assert [(s.version, s.state) for s in said] == [(1, "active")]
    assert version_of(bench, 0) == 1
    assert bench.shelf.journal[-1].action == "rollback"
    assert stocked_version(bench) == 1


def test_a_download_survives_the_cloud_and_asks_only_for_what_is_missing(bench):
    data = blob(3, hidden=300)
    release = offer(3, digest=digest(data), size=len(data))
    first, *rest = bench.hear("cloud", release)
    chunk = np.frombuffer(data[first.offset : first.offset + first.length], np.uint8)
    bench.hear("cloud", Part(digest=first.digest, offset=first.offset, data=chunk))
    bench.apply(bench.node.on_lost(bench.now_ns, "cloud"))
    assert bench.advance(10 * S) == [], "nothing is asked of a cloud that is gone"
    answers = bench.hear("cloud", WELCOME)
    again = [a for a in answers if isinstance(a, Fetch)]
    assert again == rest
    assert bench.hear("cloud", release) == [], "offered again, nothing is asked for twice"
    (status,) = serve_parts(bench, data, again)
    assert status.state == "active"


def test_lost_parts_are_asked_for_again(bench):
    fetches = bench.hear("cloud", offer(2))
    assert bench.advance(STALL_NS - 1) == []
    assert bench.advance(1) == fetches
    (status,) = serve_parts(bench, blob(2), fetches)
    assert status.state == "active"
    assert bench.advance(10 * S) == []


def test_a_newer_offer_takes_the_place_of_a_download_under_way(bench):
    stale = bench.hear("cloud", offer(2))
    said = deliver(bench, 3)
    assert [(s.version, s.state) for s in said] == [(3, "active")]
    assert serve_parts(bench, blob(2), stale) == []
    assert bench.counters()["parts_unasked"] == 1


def test_what_is_withdrawn_during_its_download_is_not_put_in_force(bench):
    fetches = bench.hear("cloud", offer(2))
    assert bench.hear("cloud", offer(1))[0].state == "active", "the cloud has gone back to it"
    serve_parts(bench, blob(2), fetches)
    assert version_of(bench, 0) == 1
    (status,) = deliver(bench, 2)
    assert (status.version, status.state) == (2, "active"), "offered again, it is taken"


def test_an_offer_that_comes_while_one_is_installed_is_next(bench):
    bench.hold("policy")
    serve_parts(bench, blob(2), bench.hear("cloud", offer(2)))
    assert bench.hear("cloud", offer(3)) == []
    bench.release("policy")
    fetches = bench.to("cloud", Fetch)[-1:]
    assert fetches[0].digest == offer(3).digest
    (status,) = serve_parts(bench, blob(3), fetches)
    assert (status.version, status.state) == (3, "active")


def test_bytes_that_are_not_the_offer_are_refused_and_may_be_tried_again(bench):
    good = blob(2)
    bad = bytes([good[0] ^ 1]) + good[1:]
    (status,) = serve_parts(bench, bad, bench.hear("cloud", offer(2)))
    assert (status.state, status.reason.split(":")[0]) == ("refused", "hash")
    assert version_of(bench, 0) == 1
    (status,) = deliver(bench, 2)
    assert status.state == "active"


def test_a_policy_that_is_refused_for_good_is_not_fetched_twice(bench):
    garbage = b"\x93no artefact"
    release = offer(2, digest=digest(garbage), size=len(garbage))
    (status,) = serve_parts(bench, garbage, bench.hear("cloud", release))
    assert status.state == "refused"
    (again,) = bench.hear("cloud", release)
    assert again.reason == status.reason
    assert version_of(bench, 0) == 1
    assert bench.counters()["policies_refused"] == 2


def test_a_policy_under_another_version_than_offered_is_refused(bench):
    data = blob(2)
    (status,) = serve_parts(bench, data, bench.hear("cloud", offer(2, version=9)))
    assert (status.state, status.reason.split(":")[0]) == ("refused", "version")
    assert version_of(bench, 0) == 1


@pytest.mark.parametrize("told", [2**40, 2**62])
def test_a_version_no_cloud_can_have_reached_is_refused_and_leaves_nothing(bench, told):
    far, kept = blob(told), set(bench.shelf._directory.iterdir())
    release = offer(2, version=told, digest=digest(far), size=len(far))
    (status,) = serve_parts(bench, far, bench.hear("cloud", release))
    assert (status.state, status.reason.split(":")[0]) == ("refused", "version")
    assert set(bench.shelf._directory.iterdir()) == kept
    (status,) = deliver(bench, 2)
    assert (status.version, status.state) == (2, "active")


def test_after_a_version_that_ran_ahead_the_clouds_releases_come_in_again(bench):
    deliver(bench, 10_000_000)
    assert version_of(bench, 0) == 10_000_000
    said = deliver(bench, 2, rollback=True)
    assert [(s.version, s.state) for s in said] == [(2, "active")]
    deliver(bench, 3)
    assert version_of(bench, 1) == 3
    assert stocked_version(bench) == 3


def test_refusals_are_remembered_up_to_a_number(bench):
    for number in range(2 * REFUSED_MAX):
        garbage = b"\x93no artefact" + bytes([number])
        release = offer(2, digest=digest(garbage), size=len(garbage))
        (status,) = serve_parts(bench, garbage, bench.hear("cloud", release))
        assert status.state == "refused"
    assert len(bench.node.releases.refused) == REFUSED_MAX
    assert version_of(bench, 0) == 1


def test_an_offer_past_the_size_cap_is_refused_unfetched(bench):
    (status,) = bench.hear("cloud", offer(2, size=2**40))
    assert (status.state, status.reason.split(":")[0]) == ("refused", "oversize")


def test_a_full_disk_refuses_a_policy_for_now_only(bench, monkeypatch):
    import os

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        (status,) = deliver(bench, 2)
    assert (status.state, status.reason.split(":")[0]) == ("refused", "disk")
    assert version_of(bench, 0) == 1
    (status,) = deliver(bench, 2)
    assert status.state == "active"


def failing(bench: Bench) -> None:
    def fail(features):
        raise RuntimeError("engine gone")

    bench.node.releases.policy.act = fail


def test_an_engine_that_fails_gives_way_to_the_policy_before(bench):
    deliver(bench, 2)
    failing(bench)
    said = bench.hear("arm", observation(0))
    assert [(s.version, s.state) for s in said] == [(2, "refused"), (1, "active")]
    assert "engine gone" in said[0].reason
    assert version_of(bench, 1) == 1
    assert stocked_version(bench) == 1
    (again,) = bench.hear("cloud", offer(2))
    assert (again.version, again.state) == (2, "refused")
    counters = bench.counters()
    assert (counters["engine_faults"], counters["dropped.engine"]) == (1, 1)


def test_an_engine_that_fails_steps_back_once_however_often_it_fails(bench):
    deliver(bench, 2)
    deliver(bench, 3)
    failing(bench)
    bench.hold("policy")
    for seq in range(3):
        assert bench.hear("arm", observation(seq)) == []
    assert len(bench.held["policy"]) == 1
    assert bench.hear("cloud", offer(4)) == [], "what comes meanwhile waits"
    bench.release("policy")
    assert bench.to("cloud", Fetch)[-1].digest == offer(4).digest
    assert version_of(bench, 3) == 2


def test_the_only_policy_keeps_its_place_even_if_it_fails(bench):
    failing(bench)
    for seq in range(2):
        assert bench.hear("arm", observation(seq)) == []
    del bench.node.releases.policy.act
    assert version_of(bench, 2) == 1
    report = bench.node.report(bench.now_ns)
    assert [e.name for e in report.events].count("no_step_back") == 1


def test_the_only_policy_gets_a_new_engine_after_a_while(bench):
    for seq in (0, 2):
        failing(bench)
        assert bench.hear("arm", observation(seq)) == []
        bench.advance(RELOAD_NS)
        assert version_of(bench, seq + 1) == 1


def test_a_new_engine_waits_for_an_install_that_fails(bench):
    failing(bench)
    assert bench.hear("arm", observation(0)) == []
    bench.hold("policy")
    serve_parts(bench, blob(2), bench.hear("cloud", offer(2, version=3)))
    bench.advance(RELOAD_NS)
    bench.release("policy")
    assert bench.to("cloud", PolicyStatus)[-1].state == "refused"
    assert bench.hear("arm", observation(1)) == []
    bench.advance(RELOAD_NS)
    assert version_of(bench, 2) == 1


def test_a_new_engine_is_tried_for_again_where_the_shelf_cannot_be_read(bench):
    failing(bench)
    assert bench.hear("arm", observation(0)) == []
    bench.carry = lambda _: OSError("disk gone")
    bench.advance(RELOAD_NS)
    bench.carry = lambda compute: compute.job()
    bench.advance(RELOAD_NS)
    assert version_of(bench, 1) == 1


def nan(policy):
    act = policy.act
    policy.act = lambda features: act(features) * np.float32(np.nan)


def ask(bench: Bench, seconds: float, *devices: str, seq: int = 0) -> list:
    """Each asks twenty times a second; what is said to the cloud."""
    before = len(bench.to("cloud", PolicyStatus))
    for number in range(seq, seq + round(seconds * 20)):
        for device in devices:
            bench.hear(device, observation(number, device))
        bench.advance(50 * MS)
    return bench.to("cloud", PolicyStatus)[before:]


def test_a_policy_that_gives_no_numbers_for_a_second_gives_way_to_the_one_before(bench):
    deliver(bench, 2)
    nan(bench.node.releases.policy)
    assert ask(bench, 0.9, "arm") == []
    said = ask(bench, 0.4, "arm", seq=100)
    assert [(s.version, s.state) for s in said] == [(2, "refused"), (1, "active")]
    assert "batches in 1.0 s brought no answer of use" in said[0].reason
    assert version_of(bench, 200) == 1
    assert stocked_version(bench) == 1
    assert bench.counters()["engine_faults"] == 1


def test_a_policy_whose_answers_come_past_their_validity_gives_way_too(bench):
    deliver(bench, 2)
    slow = bench.node.releases.policy

    def carry(compute):
        if compute.name == "infer" and bench.node.releases.policy is slow:
            bench.now_ns += SPEC.validity_ns + MS
        return compute.job()

    bench.carry = carry
    said = ask(bench, 0.5, "arm")
    assert [(s.version, s.state) for s in said] == [(2, "refused"), (1, "active")]
    assert bench.counters()["batches_of_no_use"] == 3
    assert version_of(bench, 200) == 1


def test_a_robot_that_alone_gets_no_numbers_takes_the_policy_from_nobody(bench):
    deliver(bench, 2)
    bench.join("other")
    policy = bench.node.releases.policy
    act = policy.act
    turn = iter(range(10**6))
    policy.act = lambda features: act(features) * np.float32([np.nan, 1.0][next(turn) % 2])
    assert ask(bench, 5, "arm", "other") == []
    assert (len(bench.to("arm", ActionChunk)), len(bench.to("other", ActionChunk))) == (0, 100)
    assert "engine_faults" not in bench.counters()


def test_the_only_policy_without_numbers_is_loaded_anew_and_counted(bench):
    nan(bench.node.releases.policy)
    ask(bench, 1.1, "arm")
    report = bench.node.report(bench.now_ns)
    told = [e.name for e in report.events if e.name != "answer_not_finite"]
    assert told[-2:] == ["engine_fault", "no_step_back"]
    assert report.counters["engine_faults"] == 1
    bench.advance(RELOAD_NS)
    assert version_of(bench, 200) == 1


def test_a_wrong_answer_counts_as_a_failed_engine(bench):
    deliver(bench, 2)
    bench.node.releases.policy.act = lambda features: np.zeros((1, 2), np.float32)
    said = bench.hear("arm", observation(0))
    assert [(s.version, s.state) for s in said] == [(2, "refused"), (1, "active")]


def test_a_failing_engine_waits_for_the_policy_that_is_on_its_way(bench):
    deliver(bench, 2)
    failing(bench)
    bench.hold("policy")
    serve_parts(bench, blob(3), bench.hear("cloud", offer(3)))
    bench.hear("arm", observation(0))
    assert len(bench.held["policy"]) == 1, "no step back behind the installation"
    bench.release("policy")
    assert version_of(bench, 1) == 3


def test_without_anything_to_step_back_to_the_next_offer_is_taken_up(bench):
    failing(bench)
    bench.hold("policy")
    bench.hear("arm", observation(0))
    assert bench.hear("cloud", offer(2)) == []
    bench.release("policy")
    fetches = bench.to("cloud", Fetch)
    (status,) = serve_parts(bench, blob(2), fetches)
    assert (status.version, status.state) == (2, "active")


def test_a_policy_for_another_body_is_refused_for_good_naming_the_spec(bench):
    other = msgspec.structs.replace(SPEC, body="another")
    data = blob(2, spec=other)
    release = offer(2, digest=digest(data), size=len(data))
    (status,) = serve_parts(bench, data, bench.hear("cloud", release))
    assert (status.state, status.reason.split(":")[0]) == ("refused", "spec")
    (again,) = bench.hear("cloud", release)
    assert again == status


def test_only_the_cloud_may_offer_and_what_it_says_otherwise_is_counted(bench):
    assert bench.hear("arm", offer(2)) == []
    assert bench.hear("cloud", Fetch(digest="", offset=0, length=1)) == []
    bench.hear("cloud", Refused(reason="not you", final=True))
    report = bench.node.report(bench.now_ns)
    assert report.counters["refused.unexpected"] == 2
    assert report.events[-1].name == "refused"


def test_a_shelf_that_cannot_be_read_leaves_the_edge_running(tmp_path):
    bench = Bench(tmp_path, 1)
    bench.shelf.active = lambda: 1 / 0
    bench.start()
    bench.join("arm")
    assert bench.hear("arm", observation(0)) == []
    assert bench.node.report(bench.now_ns + 5 * MS).labels["policy"] == "none"
