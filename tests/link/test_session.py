import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from tierloop.contract.errors import WireError
from tierloop.contract.messages import Beat, Echo, Hello, Observation, Refused, Stored, Welcome
from tierloop.link.clock_offset import ClockOffset
from tierloop.link.session import (
    BEAT_EVERY_NS,
    FORGET_NS,
    HELLO_EVERY_NS,
    HELLO_RAREST_NS,
    LIVING_NS,
    NO_SESSION,
    PEERS_MAX,
    SILENCE_NS,
    ClientSession,
    Peer,
    ServerSession,
    State,
)

HELLO = Hello(node="arm", role="device", boot=3, software="0", spec="s")
WELCOME = Welcome(node="edge", boot=9, acked=0)
STORED = Stored(device="arm", boot=3, below=1)


def opened() -> ClientSession:
    session = ClientSession(HELLO)
    assert session.due(0) is HELLO
    assert session.receive(1, WELCOME)
    return session


def test_hello_is_repeated_until_welcome():
    session = ClientSession(HELLO)
    assert session.due(0) is HELLO
    assert session.due(HELLO_EVERY_NS - 1) is None
    assert session.due(HELLO_EVERY_NS) is HELLO
    assert not session.receive(5, STORED)
    assert session.receive(6, WELCOME)
    assert session.state is State.OPEN
    assert not session.receive(6, WELCOME)
    assert session.receive(6, Welcome(node="edge", boot=10, acked=0))
    assert session.receive(7, STORED)


def test_beats_at_the_declared_rate():
    session = opened()
    first, second = session.due(10), session.due(10 + BEAT_EVERY_NS)
    assert isinstance(first, Beat)
    assert isinstance(second, Beat)
    assert (first.seq, second.seq) == (1, 2)
    assert session.due(11 + BEAT_EVERY_NS) is None


def test_silence_reopens_once():
    session = opened()
    assert not session.lost(SILENCE_NS)
    assert session.lost(SILENCE_NS + 2)
    assert not session.lost(SILENCE_NS + 3)
    assert session.due(SILENCE_NS + 3) is HELLO


def test_a_refusal_is_forgotten_when_nothing_repeats_it():
    session, taken = ClientSession(HELLO), Refused(reason="taken", final=False)
    for now_ns in (0, FORGET_NS):
        session.due(now_ns)
        session.receive(now_ns, taken)
    session.due(2 * FORGET_NS)
    assert session.refusal == "taken"
    session.due(2 * FORGET_NS + HELLO_RAREST_NS)
    assert session.refusal == ""
    assert session.receive(3 * FORGET_NS, taken), "it is told anew"


def test_no_refusal_is_the_end_of_trying():
    session = opened()
    assert not session.receive(2, NO_SESSION)
    assert session.state is State.OPENING
    assert session.due(2) is HELLO
    assert session.receive(3, Refused(reason="spec", final=True))
    assert (session.state, session.refusal) == (State.OPENING, "spec"), "it was in session once"
    assert not session.receive(3, Refused(reason="spec", final=True)), "told once"
    assert session.due(3 + HELLO_RAREST_NS) is HELLO
    assert session.receive(4, WELCOME)
    assert (session.state, session.refusal) == (State.OPEN, "")


def test_a_final_word_before_any_session_is_told_apart():
    session = ClientSession(HELLO)
    assert session.receive(1, Refused(reason="spec", final=True))
    assert session.state is State.REFUSED
    assert session.due(HELLO_RAREST_NS) is HELLO
    assert session.receive(2, WELCOME)
    assert session.state is State.OPEN


def test_late_answers_to_an_older_session_do_not_hold_up_the_next_hello():
    session = opened()
    for now_ns in range(2, 12):
        session.receive(now_ns, NO_SESSION)
    assert session.due(12) is HELLO
    assert session.due(12 + HELLO_EVERY_NS) is HELLO


def test_an_echo_of_what_was_never_sent_is_none():
    session = opened()
    beat = session.due(10)
    for echo in (
        Echo(seq=beat.seq + 1, sent_ns=beat.sent_ns, received_ns=1, echoed_ns=1),
        Echo(seq=beat.seq, sent_ns=beat.sent_ns - 1, received_ns=1, echoed_ns=1),
    ):
        with pytest.raises(WireError, match="unasked"):
            session.receive(20, echo)
    assert session.clock.best is None


def test_echoes_tell_the_clock_offset_with_its_bound():
    session = opened()
    assert session.clock.best is None
    assert session.due(1) == Beat(seq=1, sent_ns=1)
    session.receive(1_001, Echo(seq=1, sent_ns=1, received_ns=10_401, echoed_ns=10_501))
    best = session.clock.best
    assert best is not None
    assert best.round_trip_ns == 900
    assert abs(best.offset_ns - 9_950) <= best.bound_ns == 450


def test_the_quickest_echo_counts():
    clock = ClockOffset(window=3)
    for slow in (1000, 10, 500, 500, 500):
        clock.add(0, 50 + slow // 2, 50 + slow // 2, slow)
    assert clock.best is not None
    assert clock.best.round_trip_ns == 500


def joined(server: ServerSession, route: bytes = b"r", now_ns: int = 0, **changes) -> Peer:
    return server.open(server.claim(now_ns, route, replace(HELLO, **changes))).peer


def test_a_server_knows_a_route_by_the_hello_that_was_welcome():
    server = ServerSession()
    assert server.receive(0, b"r", Beat(seq=1, sent_ns=0)) == (None, NO_SESSION)
    label = server.claim(1, b"r", HELLO)
    assert server.receive(2, b"r", STORED) == (None, None)
    assert server.find("arm") is None
    peer, before = server.open(label)
    assert before is None
    assert server.receive(3, b"r", STORED) == (peer, None)
    none, echo = server.receive(4, b"r", Beat(seq=5, sent_ns=2))
    assert none is None
    assert echo == Echo(seq=5, sent_ns=2, received_ns=4, echoed_ns=4)


def test_a_restarted_client_takes_its_name_over():
    server = ServerSession()
    old = joined(server, b"old")
    with pytest.raises(WireError, match="taken"):
        server.claim(LIVING_NS, b"new", HELLO)
    new, before = server.open(server.claim(LIVING_NS + 1, b"new", HELLO))
    assert before is old
    assert server.find("arm") is new
    assert server.receive(LIVING_NS + 2, b"old", STORED) == (None, NO_SESSION)


def test_who_speaks_keeps_its_name_whatever_boot_another_claims():
    server = ServerSession()
    peer = joined(server)
    for beat in range(10):
        now_ns = beat * BEAT_EVERY_NS
        assert server.receive(now_ns, b"r", Beat(seq=beat, sent_ns=0))[1]
        with pytest.raises(WireError, match="taken"):
            server.claim(now_ns + LIVING_NS, b"thief", replace(HELLO, boot=2**62))
        assert server.find("arm") is peer
    assert server.claim(now_ns, b"r", HELLO), "over its own route at once"


def test_one_route_has_one_name():
    server = ServerSession()
    server.claim(0, b"r", HELLO)
    with pytest.raises(WireError, match="renamed"):
        server.claim(0, b"r", replace(HELLO, node="leg"))
    joined(server)
    assert server.claim(0, b"r", HELLO)
    with pytest.raises(WireError, match="renamed"):
        server.claim(0, b"r", replace(HELLO, node="leg"))
    server.lost(SILENCE_NS + 1)
    assert server.claim(0, b"r", replace(HELLO, node="leg"))


def test_a_name_in_session_stays_with_the_newest_boot():
    server = ServerSession()
    peer = joined(server, b"new", boot=2)
    with pytest.raises(WireError, match="taken"):
        server.claim(LIVING_NS + 1, b"old", replace(HELLO, boot=1))
    newer = server.claim(LIVING_NS + 1, b"newer", replace(HELLO, boot=3))
    assert server.open(newer).before is peer
    server.lost(LIVING_NS + SILENCE_NS + 2)
    assert joined(server, b"old", boot=1), "whatever the clock of its host says"


def test_a_server_lets_in_so_many_and_whoever_has_a_name_already():
    server = ServerSession()
    for n in range(PEERS_MAX):
        label = server.claim(n, b"%d" % n, replace(HELLO, node=f"arm-{n}"))
        if n % 2:
            server.open(label)
    with pytest.raises(WireError, match="crowded"):
        server.claim(PEERS_MAX, b"new", replace(HELLO, node="one-more"))
    again = server.claim(LIVING_NS + 4, b"new", replace(HELLO, node="arm-3"))
    assert server.open(again).before.route == b"3"
    assert len(server.lost(SILENCE_NS + LIVING_NS + 5)) == PEERS_MAX // 2
    assert server.claim(0, b"new", replace(HELLO, node="one-more"))


def test_the_silent_are_forgotten_once():
    server = ServerSession()
    joined(server)
    assert server.lost(SILENCE_NS) == []
    assert [p.name for p in server.lost(SILENCE_NS + 1)] == ["arm"]
    assert server.lost(SILENCE_NS + 2) == []


class Pair(RuleBasedStateMachine):
    """A client and a server over a link that loses anything: they always find together again."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.client, self.server = ClientSession(HELLO), ServerSession()

    def exchange(self, lose_up: bool, lose_down: bool) -> None:
        self.client.lost(self.now)
        self.server.lost(self.now)
        owed = self.client.due(self.now)
        if owed is None or lose_up:
            return
        if isinstance(owed, Hello):
            self.server.open(self.server.claim(self.now, b"r", owed))
            answer = WELCOME
        else:
            _, answer = self.server.receive(self.now, b"r", owed)
        if answer is not None and not lose_down:
            self.client.receive(self.now, answer)

    @rule(ms=st.integers(1, 400), up=st.booleans(), down=st.booleans())
    def time_passes(self, ms: int, up: bool, down: bool) -> None:
        self.now += ms * 1_000_000
        self.exchange(up, down)

    @rule()
    def the_server_restarts(self) -> None:
        self.server = ServerSession()

    @invariant()
    def a_healed_link_opens_within_two_silences(self) -> None:
        self.client.lost(self.now)
        for _ in range(2 * SILENCE_NS // HELLO_EVERY_NS):
            self.now += HELLO_EVERY_NS
            self.exchange(False, False)
        assert self.client.state is State.OPEN
        peer = self.server.find("arm")
        assert peer is not None


TestPair = Pair.TestCase


def test_an_observation_before_any_session_asks_for_a_hello():
    import numpy as np

    server = ServerSession()
    stray = Observation(
        device="arm", boot=1, seq=0, captured_ns=0, features=np.zeros(1, np.float32)
    )
    with pytest.raises(AttributeError):
        stray.seq = 1
    assert server.receive(0, b"x", stray)[1] is NO_SESSION
