import numpy as np
import pytest
from edge_bench import MS, SPEC, Bench, hello, observation

from tierloop.contract.codec import Codec
from tierloop.contract.messages import ActionChunk, Refused, Welcome
from tierloop.edge.config import EdgeConfig
from tierloop.edge.serving import ASIDE


@pytest.fixture
def bench(tmp_path) -> Bench:
    bench = Bench(tmp_path, 1).start()
    bench.join("a", "b", "c")
    return bench


def test_a_decision_answers_its_observation(bench):
    bench.advance(5 * MS)
    features = SPEC.observation.sample(np.random.default_rng(3))
    (chunk,) = bench.hear("a", observation(4, "a", captured_ns=123, features=features))
    assert (chunk.device, chunk.boot, chunk.seq, chunk.captured_ns) == ("a", 7, 4, 123)
    assert chunk.valid_until_ns == 123 + SPEC.horizon * SPEC.period_ns
    assert (chunk.period_ns, chunk.tier, chunk.policy_version) == (SPEC.period_ns, "edge", 1)
    assert chunk.batch == 1
    expected = bench.shelf.active().act(features[None])[0]
    assert np.array_equal(chunk.actions, expected)


def test_an_answer_says_for_which_instant_it_was_asked(bench):
    asked = observation(0, "a", ahead_ns=70 * MS)
    bench.apply(bench.node.on_message(bench.now_ns, "a", asked))
    bench.fire()
    (chunk,) = bench.to("a", ActionChunk)
    assert chunk.anchor_ns == asked.captured_ns + 70 * MS
    assert chunk.valid_until_ns == asked.captured_ns + SPEC.validity_ns


def test_what_came_in_together_is_one_batch_and_each_gets_its_own_answer(bench):
    rng = np.random.default_rng(0)
    sent = {d: SPEC.observation.sample(rng) for d in "abc"}
    for device, features in sent.items():
        bench.apply(
            bench.node.on_message(bench.now_ns, device, observation(0, device, features=features))
        )
    bench.fire()
    expected = bench.shelf.active().act(np.stack(list(sent.values())))
    for i, device in enumerate("abc"):
        (chunk,) = bench.to(device, ActionChunk)
        assert chunk.batch == 3
        assert np.allclose(chunk.actions, expected[i], atol=1e-6)


def test_time_in_the_edge_and_in_the_engine_are_told_apart(tmp_path):
    bench = Bench(tmp_path, 1, config=EdgeConfig(batch_window_ms=3)).start()
    bench.join("a", "b")

    def carry(compute):
        bench.now_ns += 2 * MS
        return compute.job()

    bench.hear("a", observation(0, "a"))
    bench.advance(1 * MS)
    bench.hear("b", observation(0, "b"))
    bench.carry = carry
    bench.advance(2 * MS)
    (a,), (b,) = bench.to("a", ActionChunk), bench.to("b", ActionChunk)
    assert (a.held_ns, b.held_ns) == (5 * MS, 4 * MS)
    assert a.compute_ns == b.compute_ns == 2 * MS
    assert a.batch == b.batch == 2


def test_a_full_batch_does_not_wait_for_its_window(tmp_path):
    bench = Bench(tmp_path, 1, config=EdgeConfig(batch_window_ms=10, batch_max=2)).start()
    bench.join("a", "b", "c")
    bench.hear("a", observation(0, "a"))
    assert not bench.to("a", ActionChunk)
    bench.hear("b", observation(0, "b"))
    assert len(bench.to("a", ActionChunk)) == len(bench.to("b", ActionChunk)) == 1
    bench.hear("c", observation(0, "c"))
    bench.advance(10 * MS)
    assert len(bench.to("c", ActionChunk)) == 1


def test_more_than_one_batch_holds_are_served_at_once_one_batch_after_another(tmp_path):
    bench = Bench(tmp_path, 1, config=EdgeConfig(batch_max=2)).start()
    devices = [f"d{i}" for i in range(5)]
    bench.join(*devices)
    for device in devices:
        bench.apply(bench.node.on_message(bench.now_ns, device, observation(0, device)))
    bench.fire()
    assert [bench.to(d, ActionChunk)[0].batch for d in devices] == [2, 2, 2, 2, 1]
    counters = bench.counters()
    assert (counters["answered"], counters["batches"]) == (5, 3)


def test_what_comes_in_while_the_engine_runs_is_the_next_batch(tmp_path):
    bench = Bench(tmp_path, 1).start()
    bench.join("a", "b")
    bench.hold("")
    bench.hear("a", observation(0, "a"))
    bench.hear("b", observation(0, "b"))
    bench.hear("b", observation(1, "b"))
    assert len(bench.held[""]) == 1
    bench.release("")
    bench.fire()
    (a,), (b,) = bench.to("a", ActionChunk), bench.to("b", ActionChunk)
    assert (a.seq, b.seq) == (0, 1)


def test_without_a_policy_nothing_is_answered_and_that_is_counted(tmp_path):
    bench = Bench(tmp_path).start()
    bench.join("a")
    assert bench.hear("a", observation(0, "a")) == []
    assert bench.counters()["dropped.no_policy"] == 1


def test_an_expired_batch_leaves_the_edge_ready_for_the_next(tmp_path):
    bench = Bench(tmp_path, 1, config=EdgeConfig(batch_window_ms=60, deadline_ms=50)).start()
    bench.join("a")
    bench.hear("a", observation(0, "a"))
    assert bench.advance(60 * MS) == []
    bench.node.on_timer(bench.now_ns, "serve")
    assert bench.counters()["dropped.expired"] == 1
    bench.hear("a", observation(1, "a"))
    bench.advance(30 * MS)
    assert "serve" in bench.timers


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_an_answer_that_is_not_finite_is_withheld_and_the_others_go_out(bench, poison):
    policy = bench.shelf.active()
    act = policy.act

    def bad(features):
        answer = act(features).copy()
        answer[1, 2, 0] = poison
        return answer

    policy.act = bad
    for device in "abc":
        bench.apply(bench.node.on_message(bench.now_ns, device, observation(0, device)))
    bench.fire()
    assert [len(bench.to(d, ActionChunk)) for d in "abc"] == [1, 0, 1]
    expected = act(np.full((3, SPEC.observation.size), 0.1, np.float32))
    assert np.allclose(bench.to("c", ActionChunk)[0].actions, expected[2], atol=1e-6)
    counters = bench.counters()
    assert (counters["dropped.answer_not_finite"], counters["answered"]) == (1, 2)


def test_a_slow_engine_is_asked_aside_and_a_fast_one_in_line(bench):
    lanes, lasts_ns = [], [SPEC.period_ns + 1]

    def carry(compute):
        lanes.append(compute.lane)
        bench.now_ns += lasts_ns[0]
        return compute.job()

    bench.carry = carry
    bench.hear("a", observation(0, "a"))
    bench.hear("a", observation(1, "a"))
    bench.hold(ASIDE)
    bench.hear("a", observation(2, "a"))
    assert isinstance(bench.hear("d", hello("d"))[0], Welcome), "the sockets go on meanwhile"
    bench.hear("b", observation(0, "b"))
    lasts_ns[0] = MS
    bench.release(ASIDE)
    bench.fire()
    bench.hear("a", observation(3, "a"))
    assert lanes == ["", ASIDE, ASIDE, "", ""]
    assert [chunk.seq for chunk in bench.to("a", ActionChunk)] == [0, 1, 2, 3]


def test_a_device_of_another_spec_is_refused_for_good_naming_both(tmp_path):
    bench = Bench(tmp_path, 1).start()
    (answer,) = bench.hear("a", hello("a", spec="0123456789abcdef"))
    assert isinstance(answer, Refused)
    assert answer.final
    assert "0123456789abcdef" in answer.reason
    assert SPEC.digest in answer.reason
    assert bench.hear("a", observation(0, "a")) == []


@pytest.mark.parametrize(
    "changes",
    [{"role": "edge"}, {"protocol": 2}, {"node": "cloud"}],
)
def test_who_is_no_fit_device_is_refused_for_good(tmp_path, changes):
    bench = Bench(tmp_path, 1).start()
    message = hello(**changes)
    (answer,) = bench.hear(message.node, message)
    assert isinstance(answer, Refused)
    assert answer.final
    assert bench.counters()["refused.hello"] == 1


def test_a_stranger_does_not_join_and_is_told_the_robots(tmp_path):
    bench = Bench(tmp_path, 1, robots=("arm-0", "arm-1")).start()
    (answer,) = bench.hear("evil", hello("evil"))
    assert isinstance(answer, Refused)
    assert answer.reason == "evil is none of this deployment's robots: arm-0, arm-1"
    assert bench.hear("evil", observation(0, "evil")) == []
    assert isinstance(bench.hear("arm-1", hello("arm-1"))[0], Welcome)


def test_an_edge_that_was_told_no_robots_has_none(tmp_path):
    bench = Bench(tmp_path, 1, robots=()).start()
    assert isinstance(bench.hear("a", hello("a"))[0], Refused)


def test_a_thousand_robots_are_not_all_named_to_a_stranger(tmp_path):
    robots = tuple(f"{n:0128}" for n in range(1000))
    (answer,) = Bench(tmp_path, 1, robots=robots).start().hear("evil", hello("evil"))
    assert len(Codec().encode(answer)) < 2048


def test_an_observation_must_come_from_the_device_and_boot_it_names(bench):
    assert bench.hear("a", observation(0, "b")) == []
    assert bench.hear("a", observation(0, "a", boot=8)) == []
    assert bench.hear("stranger", observation(0, "stranger")) == []
    assert bench.hear("cloud", observation(0, "cloud")) == []
    assert bench.counters()["refused.stranger"] == 4


def test_a_restarted_device_is_served_from_its_first_observation(bench):
    bench.hear("a", observation(50, "a"))
    (welcome,) = bench.hear("a", hello("a", boot=8))
    assert isinstance(welcome, Welcome)
    (chunk,) = bench.hear("a", observation(0, "a", boot=8))
    assert (chunk.boot, chunk.seq) == (8, 0)


def test_a_lost_device_waits_for_nothing_and_comes_back(tmp_path):
    bench = Bench(tmp_path, 1, config=EdgeConfig(batch_window_ms=5)).start()
    bench.join("a")
    bench.hear("a", observation(0, "a"))
    bench.apply(bench.node.on_lost(bench.now_ns, "a"))
    bench.advance(5 * MS)
    assert not bench.to("a", ActionChunk)
    bench.join("a")
    bench.hear("a", observation(1, "a"))
    bench.advance(5 * MS)
    assert len(bench.to("a", ActionChunk)) == 1
    bench.apply(bench.node.on_lost(bench.now_ns, "nobody"))


def test_the_report_tells_the_batches_the_energy_and_the_policy(bench):
    for device in "ab":
        bench.apply(bench.node.on_message(bench.now_ns, device, observation(0, device)))
    bench.carry = lambda compute: (
        setattr(bench, "now_ns", bench.now_ns + 100 * MS),
        compute.job(),
    )[1]
    bench.fire()
    bench.now_ns += 900 * MS
    report = bench.node.report(bench.now_ns)
    assert report.gauges["batch_mean"] == 2
    assert report.gauges["devices"] == 3
    assert report.gauges["policy_version"] == 1
    assert report.labels["policy"].startswith("v1 ")
    expected = 4.0 * 1.0 + (10.0 - 4.0) * 0.1
    assert report.counters["energy_j.compute"] == pytest.approx(expected)
    assert [e.name for e in report.events] == ["joined"] * 3
    again = bench.node.report(bench.now_ns)
    assert again.gauges["batch_mean"] == 0
    assert again.events == ()


@pytest.mark.parametrize(
    "changes", [{"batch_max": 0}, {"deadline_ms": 0}, {"outbox_mb": 0}, {"batch_window_ms": -1}]
)
def test_a_configuration_that_cannot_be_says_so(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        EdgeConfig(**changes)
