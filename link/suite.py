"""The conformance suite of a link: inherit, give `make_pair` and `settle`, be tested."""

from tierloop.link.channel import ClientTransport, ServerTransport


class LinkSuite:
    """Tests that every pair of transports must pass, ZeroMQ's and a modelled link's alike."""

    def make_pair(self) -> tuple[ClientTransport, ServerTransport]:
        """A connected pair."""
        raise NotImplementedError

    def settle(self) -> None:
        """Lets what was sent arrive."""
        raise NotImplementedError

    def test_messages_arrive_whole_and_in_order(self) -> None:
        client, server = self.make_pair()
        messages = [bytes([i]) * i for i in range(50)]
        for message in messages:
            assert client.send(message)
        got: list[bytes] = []
        for _ in messages:  # a link need not hold them all at once
            self.settle()
            while (arrived := server.receive()) is not None:
                got.append(arrived[1])
            if len(got) >= len(messages):
                break
        assert got == messages
        client.close()
        server.close()

    def test_answers_find_their_way_back(self) -> None:
        client, server = self.make_pair()
        assert client.send(b"ask")
        self.settle()
        arrived = server.receive()
        assert arrived is not None
        assert server.send(arrived[0], b"answer")
        self.settle()
        assert client.receive() == b"answer"
        assert client.receive() is None
        client.close()
        server.close()

    def test_a_route_that_is_gone_says_so(self) -> None:
        client, server = self.make_pair()
        assert not server.send(b"nobody", b"x")
        client.close()
        server.close()
