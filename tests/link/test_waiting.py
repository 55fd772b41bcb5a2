"""Silence is named: nobody listens, or something does and says nothing; soon, then rarely."""

import socket
import threading
import time
from contextlib import ExitStack, closing

import pytest
import zmq

from tierloop.contract.messages import Hello, Refused, Welcome
from tierloop.link.channel import Client, Server
from tierloop.link.probe import Probe
from tierloop.link.sockets import ClientSocket, ServerSocket
from tierloop.link.waiting import Wait, Waits

S = 1_000_000_000
HELLO = Hello(node="arm-0", role="device", boot=1, software="x", spec="s")


def spoken(wait, there=lambda _: False, seconds=2000):
    return [s for s in range(1, seconds) if wait.look(s * S, there(s))]


def test_it_is_told_soon_and_then_rarely():
    assert spoken(Wait(0)) == [2, 10, 60, 600, 1200, 1800]


def test_a_new_wait_is_told_afresh():
    assert spoken(Wait(0), lambda s: 30 <= s < 40, 52) == [2, 10, 41, 49]


@pytest.fixture
def client(address):
    client = Client(ClientSocket(address), HELLO, "edge")
    yield client
    client.close()


def said(client, at_s=2):
    return [e.detail for e in Waits(0, client).look(at_s * S)]


def test_where_nothing_listens_it_says_so(client, address):
    assert said(client) == [f"nobody listens at {address}"]
    assert said(client, 1) == []


def test_what_listens_and_is_mute_is_another_matter(client, address):
    host, port = address.removeprefix("tcp://").split(":")
    with socket.create_server((host, int(port))):
        assert said(client) == [f"something listens at {address} but does not answer"]


def test_what_answers_in_another_tongue_does_not_answer(client, address):
    host, port = address.removeprefix("tcp://").split(":")
    with socket.create_server((host, int(port))) as http:

        def answer():
            connection, _ = http.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        for _ in range(20):
            client.poll(0)
            thread.join(0.05)
        assert said(client) == [f"something listens at {address} but does not answer"]


def test_a_refusal_is_repeated_with_its_reason_while_what_refused_is_there(client, address):
    client.session.receive(0, Refused(reason="another process has this name", final=False))
    host, port = address.removeprefix("tcp://").split(":")
    with socket.create_server((host, int(port))):
        words = f"what listens at {address} refuses: another process has this name"
        assert said(client) == [words]
    assert said(client) == [f"nobody listens at {address}"]


def test_a_listener_with_a_full_queue_keeps_no_look_waiting(client, address):
    host, port = address.removeprefix("tcp://").split(":")
    with socket.create_server((host, int(port)), backlog=0), ExitStack() as others:
        for _ in range(4):
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex((host, int(port)))
        tries = [Waits(0, client) for _ in range(5)]
        before = time.monotonic()
        assert [waits.look(2 * S) for waits in tries] == [[]] * 5
        assert time.monotonic() - before < 0.05
        for waits in tries:
            (event,) = waits.look(3 * S)
            assert event.detail == f"something listens at {address} but does not answer"
            assert waits.look(4 * S) == []


def test_who_answered_between_two_looks_is_not_spoken_of(client, address):
    host, port = address.removeprefix("tcp://").split(":")
    with socket.create_server((host, int(port)), backlog=0), ExitStack() as others:
        for _ in range(4):
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex((host, int(port)))
        waits = Waits(0, client)
        waits.look(2 * S)
        client.session.receive(0, Welcome(node="edge", boot=1, acked=0))
        assert waits.look(3 * S) == []


def test_in_session_there_is_nothing_to_say(client):
    client.session.receive(0, Welcome(node="edge", boot=1, acked=0))
    assert said(client) == []


def test_a_server_says_whom_it_waits_for(address):
    server = Server(ServerSocket(address))
    waits = Waits(0, None, server, "an edge")
    assert waits.look(S) == []
    (event,) = waits.look(2 * S)
    assert (event.name, event.detail) == ("silence", f"waiting for an edge on {address}")
    label = server.session.claim(0, b"r", HELLO)
    server.session.open(label)
    assert waits.look(10 * S) == []
    server.close()


def listens(address):
    with closing(Probe(address)) as probe:
        return probe.listens()


@pytest.mark.parametrize("name", ["s", "what?#s"])
def test_a_socket_in_the_file_system_is_tried_too(tmp_path, name):
    address = f"ipc://{tmp_path}/{name}"
    assert listens(address) is False
    with zmq.Context() as context, context.socket(zmq.ROUTER) as server:
        server.bind(address)
        assert listens(address)


def test_a_socket_in_the_file_system_with_a_full_queue_listens(tmp_path):
    path = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as other:
        server.bind(path)
        server.listen(0)
        other.connect(path)
        assert listens(f"ipc://{path}")
