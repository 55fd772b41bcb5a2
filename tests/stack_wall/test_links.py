"""What connects a process upwards on the wall clock: shaped as declared, each way apart."""

from tierloop.link.direction import DirectionSpec
from tierloop.link.sockets import ClientSocket
from tierloop.link.spec import LinkSpec
from tierloop.stack.wall import links


def made(spec, monkeypatch):
    """The models up and down."""
    seen = []
    monkeypatch.setattr(links, "ShapedSocket", lambda _address, up, down: seen.extend((up, down)))
    links.connector((), ("arm-0",), "arm-0", spec, seed=1, began_ns=0)("nowhere")
    return [one_way.model for one_way in seen]


def test_each_direction_has_its_own_values_and_randomness(monkeypatch):
    spec = LinkSpec(preset="lte", down=DirectionSpec(delay_ms=3))
    up, down = made(spec, monkeypatch)
    assert (up.spec, down.spec) == spec.directions()
    assert up.spec != down.spec
    same = LinkSpec(jitter_p50_ms=1, jitter_p90_ms=2, jitter_p99_ms=5)
    up, down = made(same, monkeypatch)
    assert up.carry(1, 1) != down.carry(1, 1)


def test_a_link_that_takes_time_one_way_only_is_shaped(monkeypatch):
    assert links.connector((), (), "arm-0", LinkSpec(), 1, 0) is ClientSocket
    one_way = LinkSpec(down=DirectionSpec(delay_ms=3))
    assert links.connector((), (), "arm-0", one_way, 1, 0) is not ClientSocket
